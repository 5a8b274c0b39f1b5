# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Which rule keeps a destination's jobs waiting, in a word for programs and a text for people."""

from typing import NamedTuple


class Held(NamedTuple):
    """rule: as in docs/operating.md. seconds: until that ends by itself, 0.0 if nobody can know."""

    rule: str
    text: str
    seconds: float = 0.0

# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What an administrator grants one destination, or all whose mail one kind of host takes: a value of `limits`.

Which of them counts for whom: `model.rules`.
"""

from typing import Annotated

from msgspec import Meta, Struct

Most = Annotated[int, Meta(ge=0)]


class Limit(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """0: as many as there are."""

    concurrency: Most = 0  # connections at once, of all workers
    messages_per_minute: Most = 0  # in any minute, of all workers
    messages_per_connection: Most = 0  # then QUIT, and a new connection for the next one

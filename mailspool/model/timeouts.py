# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""How long each phase of an SMTP session may take (RFC 5321 §4.5.3.2)."""

import msgspec


class Timeouts(msgspec.Struct, frozen=True):
    """Seconds to wait for the whole of each reply (not for each piece of it: a dripping host gets no longer)."""

    connect: float = 30.0
    greeting: float = 300.0  # §4.5.3.2.1
    ehlo: float = 300.0
    starttls: float = 60.0
    auth: float = 180.0  # for each answer; hosts delay their refusals on purpose
    mail: float = 300.0  # §4.5.3.2.2
    rcpt: float = 300.0  # §4.5.3.2.3
    data: float = 120.0  # §4.5.3.2.4
    content: float = 180.0  # §4.5.3.2.5: for each block of content to be taken
    final: float = 600.0  # §4.5.3.2.6: never shorter on purpose, or two copies arrive (RFC 1047)
    quit: float = 5.0  # nothing depends on the answer any more

# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What must be the same on all hosts that share a spool, and a fingerprint of it by which they can be compared.

What becomes of a node must not depend on which host takes it. Nothing secret is among these options.
"""

from hashlib import blake2b

from msgspec import json, structs

from mailspool.config.schema import Settings

COMMON = (
    *("dequeue_periods", "max_age", "delay_notice", "lease_time"),
    *("max_hops", "bounce_size_limit"),
    *("smarthost", "routes", "limits", "smtp_port", "tls"),
)
"""The schedule, and the lease by which hosts judge each other; what is given up and returned; the way out."""


def fingerprint(settings: Settings) -> str:
    """Eight hex digits: equal where all options in `COMMON` are."""
    values = structs.asdict(settings)
    text = json.encode([(name, values[name]) for name in COMMON], order="deterministic")
    return blake2b(text, digest_size=4).hexdigest()

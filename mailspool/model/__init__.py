# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Plain values that every other room speaks in: addresses, envelopes, outcomes, tiers. No I/O, no clock."""

# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Delivery status notifications: who hears of what (RFC 3461), and in which words (RFC 3464)."""

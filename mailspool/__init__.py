# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""A durable outbound mail spool and its delivery daemon."""

# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The client side of RFC 5321: rules without I/O, and one socket."""

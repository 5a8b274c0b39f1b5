# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Whether a spool is as docs/spool-format.md says: each part of it in a module here. Looking writes nothing."""

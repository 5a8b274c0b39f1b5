# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""`mailspool demo`: a spool, its daemon, a dozen messages, and what became of them."""

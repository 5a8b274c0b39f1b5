# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""`mailspool doctor`: what may keep mail from being delivered, found before somebody misses it."""

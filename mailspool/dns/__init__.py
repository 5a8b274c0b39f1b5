# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Names to addresses and mail exchangers: what is absent is told from what could not be found out."""

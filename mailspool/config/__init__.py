# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Each option declared once; read, checked and explained."""

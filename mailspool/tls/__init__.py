# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Whether, and how far, a session is encrypted."""

# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""A message as bytes: found, never rewritten."""

# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The door out: from a claimed node to its outcome, and what follows from that."""

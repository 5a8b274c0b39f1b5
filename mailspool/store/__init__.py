# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Where nodes are kept, and the only room that renames, links, unlinks and syncs."""

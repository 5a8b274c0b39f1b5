# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The door in: from a message and its recipients to a durable node. It never imports delivery."""

# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What other mail systems left in their queues, and how it is taken over. The source is only ever read."""

# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""A prefork parent that knows jobs, not mail: signals, timers, workers, deadlines."""

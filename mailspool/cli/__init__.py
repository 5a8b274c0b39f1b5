# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The commands: arguments in, exit codes out."""

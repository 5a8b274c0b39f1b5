# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The file system that a spool is on: which mount it is, and whether this host has found it fit to be shared."""

# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The version of this package, where every floor may read it; as in setup.cfg."""

VERSION = "0.1.0"

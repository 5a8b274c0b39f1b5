# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The version of this package, in its one place: setup.cfg takes it from here, and every floor may read it."""

VERSION = "0.1.0"

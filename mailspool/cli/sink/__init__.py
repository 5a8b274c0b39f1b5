# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""`mailspool sink`: an SMTP server that takes mail and sends none, with faults to order."""

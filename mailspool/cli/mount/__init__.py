# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""`mailspool check-mount`: is a mount fit for a spool? Found out by doing, by one host or several at once."""

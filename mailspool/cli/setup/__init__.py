# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""`mailspool setup --system`: what a host needs around the programs, installed as told and taken back exactly.

command: the command line. plan: what is installed on this host, of which sendmail: the names that programs call, which
another MTA may have. files, system: the kinds of steps, and how each is made and taken back. manifest: what was made.
install: the way there and back.
"""

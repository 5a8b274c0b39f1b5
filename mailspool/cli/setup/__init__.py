# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""`mailspool setup --system`: what a host needs around the programs, installed as told and taken back exactly.

command: the command line. plan: what is installed on this host. steps: how each thing is made and unmade. manifest:
what was made. install: the way there and back. sendmail: the names that programs call, which another MTA may have.
"""

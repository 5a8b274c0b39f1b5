#!/bin/sh
# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
# Fetches the packages of programs that hand in mail and that nobody wants on the machine that runs the tests: daemons,
# what depends on a mail server, and the mail server that ours replaces. The tests install them in systems that they
# throw away. For Debian.
set -eu

callers=${XDG_CACHE_HOME:-$HOME/.cache}/mailspool-callers
script=$(readlink -f "$0")
packages='at cron cron-daemon-common fail2ban logwatch mdadm postfix'

umask 022
mkdir -p "$callers"
cd "$callers"
exec 9>lock
flock 9 # who comes meanwhile waits, and finds it done
stamp="$(cksum <"$script") $(dpkg --print-architecture)"
[ "$(cat fetched 2>/dev/null)" != "$stamp" ] || exit 0

rm -f fetched ./*.deb
# shellcheck disable=SC2086 # words are meant
apt-get download -qq -o APT::Sandbox::User=root $packages
printf '%s\n' "$stamp" >fetched

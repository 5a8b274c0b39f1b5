#!/bin/sh
# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
# Unpacks nullmailer and dma, with all that they need to run, into a private root, where the tests have them queue mail
# (chroot). Nothing is installed, no maintainer's script runs, nothing outside of the private root changes.
# For root, on Debian.
set -eu

queues=${XDG_CACHE_HOME:-$HOME/.cache}/mailspool-queues

say() { printf 'tests/inherit/install.sh: %s\n' "$*" >&2; }

if [ "$(id -u)" -ne 0 ]; then
    say 'only root can make and enter a private root'
    exit 77
fi
umask 022
mkdir -p "$queues"
exec 9>"$queues/lock"
flock 9 # the tests lock it, too
stamp="$(cksum <"$0") $(dpkg --print-architecture)"
[ "$(cat "$queues/installed" 2>/dev/null)" != "$stamp" ] || exit 0

say "unpacking nullmailer and dma into $queues …"
rm -rf "$queues/installed" "$queues/root" "$queues/debs"
mkdir -p "$queues/root" "$queues/debs/partial"

# With an empty status file nothing is taken to be there already, so that all they depend on comes along.
: >"$queues/nothing-installed"
for package in nullmailer dma; do
    apt-get install --download-only --no-install-recommends -qq -y \
        -o Dir::State::status="$queues/nothing-installed" -o Dir::Cache::archives="$queues/debs" \
        -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root "$package" >/dev/null
done
for deb in "$queues"/debs/*.deb; do
    dpkg-deb -x "$deb" "$queues/root"
done
rm -rf "$queues/debs" "$queues/nothing-installed" "$queues"/lock-frontend*

# What the maintainers' scripts would have made. dma only queues: nothing in here ever talks to a host.
cd "$queues/root"
mkdir -p dev etc/dma var/spool/dma var/spool/nullmailer/queue var/spool/nullmailer/tmp var/spool/nullmailer/failed
[ -e dev/null ] || mknod -m 666 dev/null c 1 3
[ -e dev/urandom ] || mknod -m 444 dev/urandom c 1 9
printf 'root:x:0:0:root:/root:/usr/sbin/nologin\nmail:x:8:8::/nonexistent:/usr/sbin/nologin\n' >etc/passwd
printf 'root:x:0:\nmail:x:8:\n' >etc/group
echo queue.example.org >etc/mailname
printf 'MAILNAME /etc/mailname\nDEFER\n' >etc/dma/dma.conf
chown 8:8 var/spool/dma

printf '%s\n' "$stamp" >"$queues/installed"
say "$(du -sh "$queues/root" | cut -f1) unpacked"

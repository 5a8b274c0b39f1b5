#!/bin/sh
# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
# Unpacks Postfix and Exim, with all that they need to run, into a private root: as packages of one system they
# exclude each other, and both would take over its sendmail. Nothing is installed, no maintainer's script runs, nothing
# outside of the private root changes. The tests start both servers in it (chroot). For root, on Debian.
set -eu

peers=${XDG_CACHE_HOME:-$HOME/.cache}/mailspool-peers
packages='postfix exim4-daemon-light'

say() { printf 'tests/peers/install.sh: %s\n' "$*" >&2; }

if [ "$(id -u)" -ne 0 ]; then
    say 'only root can make and enter a private root'
    exit 77
fi
umask 022
mkdir -p "$peers"
exec 9>"$peers/lock"
flock 9 # who comes meanwhile waits, and finds it done
stamp="$(cksum <"$0") $(dpkg --print-architecture)"
[ "$(cat "$peers/installed" 2>/dev/null)" != "$stamp" ] || exit 0

say "unpacking $packages into $peers …"
rm -rf "$peers/installed" "$peers/root" "$peers/debs"
mkdir -p "$peers/root" "$peers/debs/partial"

# With an empty status file nothing is taken to be there already, so that all they depend on comes along.
: >"$peers/nothing-installed"
for package in $packages; do
    apt-get install --download-only --no-install-recommends -qq -y \
        -o Dir::State::status="$peers/nothing-installed" -o Dir::Cache::archives="$peers/debs" \
        -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root "$package" >/dev/null
done
for deb in "$peers"/debs/*.deb; do
    dpkg-deb -x "$deb" "$peers/root"
done
rm -rf "$peers/debs" "$peers/nothing-installed" "$peers"/lock-frontend*

# What the maintainers' scripts and the system would have made. DNS is never asked: there is no resolv.conf.
cd "$peers/root"
mkdir -p dev etc tmp srv
chmod 1777 tmp
[ -e dev/null ] || mknod -m 666 dev/null c 1 3
[ -e dev/urandom ] || mknod -m 444 dev/urandom c 1 9
cat >etc/passwd <<'PASSWD'
root:x:0:0:root:/root:/usr/sbin/nologin
postfix:x:61001:61001::/nonexistent:/usr/sbin/nologin
Debian-exim:x:61002:61002::/nonexistent:/usr/sbin/nologin
mail:x:61003:61003::/nonexistent:/usr/sbin/nologin
nobody:x:65534:65534::/nonexistent:/usr/sbin/nologin
PASSWD
cat >etc/group <<'GROUP'
root:x:0:
postfix:x:61001:
Debian-exim:x:61002:
mail:x:61003:
postdrop:x:61004:
nogroup:x:65534:
GROUP
echo '127.0.0.1 localhost' >etc/hosts
printf 'passwd: files\ngroup: files\nhosts: files\n' >etc/nsswitch.conf

for try in '/usr/sbin/postconf -d mail_version' '/usr/sbin/exim4 -C /dev/null -bV'; do
    # shellcheck disable=SC2086 # words are meant
    chroot . $try >"$peers/log" 2>&1 || { cat "$peers/log" >&2; say "$try does not run"; exit 1; }
done
printf '%s\n' "$stamp" >"$peers/installed"
say "$(du -sh "$peers/root" | cut -f1) unpacked"

#!/bin/sh
# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
# Unpacks Postfix, with the logins of Cyrus SASL, and Exim into a private root: as packages of one system they exclude
# each other, and both would take over its sendmail. The tests start both servers in it (chroot).
set -eu
. "$(dirname "$0")/../unpack.sh"

unpack mailspool-peers 'postfix libsasl2-modules sasl2-bin' exim4-daemon-light

# What the maintainers' scripts and the system would have made. DNS is never asked: there is no resolv.conf.
mkdir -p tmp srv
chmod 1777 tmp
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

for try in '/usr/sbin/postconf -d mail_version' '/usr/sbin/exim4 -C /dev/null -bV' '/usr/sbin/saslpluginviewer -s'; do
    # shellcheck disable=SC2086 # words are meant
    chroot . $try >"$cache/log" 2>&1 || { cat "$cache/log" >&2; say "$try does not run"; exit 1; }
done
finish

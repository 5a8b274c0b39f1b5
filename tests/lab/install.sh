#!/bin/sh
# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
# Unpacks a Linux kernel that runs as a process (user-mode-linux) and the programs of an NFS server and client into a
# private root, from which the lab's hosts boot. Nothing is installed, no maintainer's script runs, nothing outside of the
# private root changes, no daemon starts here. Needs Debian's apt and a C compiler.
set -eu

lab=${XDG_CACHE_HOME:-$HOME/.cache}/mailspool-lab
here=$(dirname "$(readlink -f "$0")")
packages='user-mode-linux uml-utilities nfs-common nfs-kernel-server rpcbind kmod iproute2 e2fsprogs xfsprogs python3
    coreutils dash grep hostname mount util-linux'

say() { printf 'tests/lab/install.sh: %s\n' "$*" >&2; }

umask 022
mkdir -p "$lab"
exec 9>"$lab/lock"
flock 9 # who comes meanwhile waits, and finds it done
stamp="$(cat "$here/install.sh" "$here/xstate.c" | cksum) $(dpkg --print-architecture)"
[ "$(cat "$lab/installed" 2>/dev/null)" != "$stamp" ] || exit 0

say "unpacking user-mode-linux and an NFS server into $lab …"
rm -rf "$lab/installed" "$lab/root" "$lab/debs"
mkdir -p "$lab/root" "$lab/debs/partial"

# With an empty status file nothing is taken to be there already, so that all they depend on comes along.
: >"$lab/nothing-installed"
# shellcheck disable=SC2086 # words are meant
apt-get install --download-only --no-install-recommends -qq -y \
    -o Dir::State::status="$lab/nothing-installed" -o Dir::Cache::archives="$lab/debs" \
    -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root $packages >/dev/null
for deb in "$lab"/debs/*.deb; do
    dpkg-deb -x "$deb" "$lab/root"
done
rm -rf "$lab/debs" "$lab/nothing-installed" "$lab/root/usr/share/doc" "$lab/root/usr/share/locale"

# What the maintainers' scripts and the system would have made.
cd "$lab/root"
mkdir -p dev etc machine proc run sys tmp var/lib/nfs
ln -s /usr/lib/uml/modules lib/modules
cat >etc/passwd <<'PASSWD'
root:x:0:0:root:/root:/usr/sbin/nologin
_rpc:x:61001:65534::/run/rpcbind:/usr/sbin/nologin
statd:x:61002:65534::/var/lib/nfs:/usr/sbin/nologin
nobody:x:65534:65534::/nonexistent:/usr/sbin/nologin
PASSWD
printf 'root:x:0:\nnogroup:x:65534:\n' >etc/group
: >etc/exports
echo '127.0.0.1 localhost' >etc/hosts
printf 'passwd: files\ngroup: files\nhosts: files\n' >etc/nsswitch.conf
# A host's root is this; what it does then stands in the checkout (init.sh), which it sees below /machine.
cat >init <<'INIT'
#!/bin/sh
mount -r -t hostfs -o / none /machine
exec /bin/sh "/machine$LAB_INIT"
INIT
chmod 755 init
gcc -shared -fPIC -O2 -o xstate.so "$here/xstate.c" -ldl
# A host cannot keep what it compiles: its root is read-only.
PYTHONHOME=$lab/root/usr lib/*/ld-linux-*.so.2 --library-path "$(echo "$lab"/root/lib/*-linux-gnu):$(
    echo "$lab"/root/usr/lib/*-linux-gnu)" usr/bin/python3 -m compileall -q usr/lib/python3.*

printf '%s\n' "$stamp" >"$lab/installed"
say "$(du -sh "$lab/root" | cut -f1) unpacked"

#!/bin/sh
# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
# For scripts that unpack Debian's packages, with all that they need to run, into a private root: they read this file, say
# what is to be unpacked, and then make what maintainers' scripts would have made. Nothing is installed, no such script
# runs, nothing outside of the private root changes. For root, on Debian.
#
#   . …/tests/unpack.sh
#   unpack NAME PACKAGES…  # into ~/.cache/NAME/root, in which the script then stands; ends it if that was done already
#   …                      # PACKAGES: one word for all that go together; of several words each may exclude the others
#   finish                 # until here nobody takes the root for complete

say() { printf '%s: %s\n' "$script" "$*" >&2; }

unpack() {
    script=$0
    cache=${XDG_CACHE_HOME:-$HOME/.cache}/$1
    shift
    if [ "$(id -u)" -ne 0 ]; then
        say 'only root can make and enter a private root'
        exit 77
    fi
    umask 022
    mkdir -p "$cache"
    exec 9>"$cache/lock"
    flock 9 # who comes meanwhile waits, and finds it done; tests may lock it, too
    stamp="$(cat "$script" "$(dirname "$script")/../unpack.sh" | cksum) $(dpkg --print-architecture)"
    [ "$(cat "$cache/installed" 2>/dev/null)" != "$stamp" ] || exit 0

    say "unpacking $* into $cache …"
    rm -rf "$cache/installed" "$cache/root" "$cache/debs"
    mkdir -p "$cache/root" "$cache/debs/partial"
    # With an empty status file nothing is taken to be there already, so that all they depend on comes along.
    : >"$cache/nothing-installed"
    for packages; do
        # shellcheck disable=SC2086 # words are meant
        apt-get install --download-only --no-install-recommends -qq -y \
            -o Dir::State::status="$cache/nothing-installed" -o Dir::Cache::archives="$cache/debs" \
            -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root $packages >/dev/null
    done
    for deb in "$cache"/debs/*.deb; do
        dpkg-deb -x "$deb" "$cache/root"
    done
    rm -rf "$cache/debs" "$cache/nothing-installed" "$cache"/lock-frontend*

    cd "$cache/root"
    mkdir -p dev etc
    [ -e dev/null ] || mknod -m 666 dev/null c 1 3
    [ -e dev/urandom ] || mknod -m 444 dev/urandom c 1 9
}

finish() {
    printf '%s\n' "$stamp" >"$cache/installed"
    say "$(du -sh "$cache/root" | cut -f1) unpacked"
}

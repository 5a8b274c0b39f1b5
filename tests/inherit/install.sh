#!/bin/sh
# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
# Unpacks nullmailer and dma into a private root, where the tests have them queue mail (chroot).
set -eu
. "$(dirname "$0")/../unpack.sh"

unpack mailspool-queues nullmailer dma

# What the maintainers' scripts would have made. dma only queues: nothing in here ever talks to a host.
mkdir -p etc/dma var/spool/dma var/spool/nullmailer/queue var/spool/nullmailer/tmp var/spool/nullmailer/failed
printf 'root:x:0:0:root:/root:/usr/sbin/nologin\nmail:x:8:8::/nonexistent:/usr/sbin/nologin\n' >etc/passwd
printf 'root:x:0:\nmail:x:8:\n' >etc/group
echo queue.example.org >etc/mailname
printf 'MAILNAME /etc/mailname\nDEFER\n' >etc/dma/dma.conf
chown 8:8 var/spool/dma

finish

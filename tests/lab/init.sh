#!/bin/sh
# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
# The first process of a host in the lab. Its root is the private one of install.sh; below /machine it sees this whole
# machine at its own paths. Both are read-only. What the host writes goes to /run, which both roots have in common: a
# tmpfs, with the lab's folder at /run/share and disks and file servers mounted below it.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/run LC_ALL=C.UTF-8 TMPDIR=/run/tmp
mount -t proc proc /proc
mount -t sysfs sys /sys
mkdir -p /dev/shm /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tmpfs run /run
mount --make-shared /run
mount -t tmpfs nfs /var/lib/nfs
mkdir -p /run/share /run/tmp /run/spool /run/disk /run/lock /run/rpcbind
mkdir -p /var/lib/nfs/sm /var/lib/nfs/sm.bak /var/lib/nfs/rpc_pipefs /var/lib/nfs/v4recovery /var/lib/nfs/nfsdcld
touch /var/lib/nfs/etab /var/lib/nfs/rmtab /var/lib/nfs/state
mount -t hostfs -o "$LAB_SHARE" none /run/share
for each in proc sys dev run; do mount --rbind "/$each" "/machine/$each"; done
hostname "$LAB_NAME"
echo 3 >/proc/sys/kernel/printk
ip link set lo up
ip link set eth0 up
ip addr add "$LAB_ADDRESS/24" dev eth0
exec python3 "/machine$LAB_AGENT" "/run/share/$LAB_NAME"

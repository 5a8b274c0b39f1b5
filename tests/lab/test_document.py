# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""docs/nfs.md to the letter where it takes more than a host with mailspool: on a file server, and on two that mount."""

import shlex

import pytest

from tests.docs.page import blocks, ids_in
from tests.lab import nfs
from tests.running import ROOT

OWNER = 992  # the daemon's user, as the page has it
HERE = "/run/here"
# A host's own root is read-only. What the page is followed in has directories of its own where a reader writes.
MAKE_ROOT = f"""set -e
mkdir {HERE}
{{mount}} {HERE}
mkdir -p {HERE}/srv {HERE}/var/spool/mailspool {HERE}/var/lib/nfs
cp -a /etc {HERE}
mkdir {HERE}/etc/exports.d
for name in bin dev lib lib64 proc run sbin sys usr var/lib/nfs; do
    mkdir -p {HERE}/$name
    mount --rbind /$name {HERE}/$name
done
"""
A_DISK = "mkfs.ext4 -q /dev/ubda && mount /dev/ubda"  # NFS 4 exports nothing below a root that is no disk
IN_MEMORY = "mount -t tmpfs memory"


class System:
    """A host of the lab, as somebody who follows the page has it."""

    def __init__(self, host, hosts, mount):
        self.host = host
        host.run(MAKE_ROOT.format(mount=mount))
        for name, address in hosts.items():
            self.run(f"echo {address} {name} >>/etc/hosts")

    def run(self, text):
        return self.host.run(f"chroot {HERE} env -C / sh -ec {shlex.quote(text)}").text

    def follow(self, on):
        """All that the page has for such a host."""
        for block in blocks(ROOT / "docs/nfs.md"):
            if block.host != on:
                continue
            if block.file:
                self.run(f"printf %s {shlex.quote(block.text)} >{block.file}")
            for command in block.commands:
                printed = self.run(command.text)
                if command.output:
                    ids_in(command.output, printed)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_spool_is_mounted_on_two_hosts_and_belongs_to_the_daemon_s_user(lab):
    hosts = [lab.host("nfs", disks=[lab.disk("nfs")]), lab.host("mx1"), lab.host("mx2")]
    for host in hosts:
        host.power_on()
    for host in hosts:
        host.until_up()
    addresses = {host.name: host.address for host in hosts}
    server, *clients = map(System, hosts, [addresses] * 3, [A_DISK, IN_MEMORY, IN_MEMORY])
    server.run(nfs.SERVER_S_KERNEL.format(lease=nfs.LEASE))
    server.run(nfs.SERVER_S_DAEMONS)
    server.follow("the file server")
    for client in clients:
        client.run(nfs.CLIENT)
        client.follow("each host")
    first, second = clients
    first.run(f"setpriv --reuid={OWNER} --regid={OWNER} --clear-groups sh -ec 'echo hello >/var/spool/mailspool/file'")
    assert second.run("stat -c %u /var/spool/mailspool/file; cat /var/spool/mailspool/file") == f"{OWNER}\nhello\n"
    assert server.run("cat /srv/mailspool/file") == "hello\n"
    for client in clients:
        client.run("grep '^nfs:/srv/mailspool /var/spool/mailspool nfs4 .*,vers=4.2,.*,hard,' /proc/mounts")
        client.run("umount /var/spool/mailspool")
        assert client.run("stat -c '%a %u' /var/spool/mailspool") == "0 0\n"

# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""A host becomes the kernel's NFS server, or mounts what such a one exports; both speak NFS 3 and 4.2.

The server's disk is /dev/ubda. A server that comes back after a power cut is set up by the same call.
"""

SPOOL = "/run/spool"
EXPORT = "/run/disk"
LEASE = 10  # seconds, of NFS 4: the least a server takes; and so long one that comes back makes others wait
SAFE = "rw,sync,no_subtree_check,no_root_squash,fsid=0"
VERSIONS = {"3": "vers=3", "4.2": "vers=4.2"}

DISK = f"""mountpoint -q {EXPORT} || mount /dev/ubda {EXPORT} 2>/dev/null || {{
    mkfs.ext4 -q /dev/ubda && mount /dev/ubda {EXPORT}
}}"""
SERVER = """set -e
{kernel}
exportfs -o {options} '*:{export}'
{daemons}
chmod 1777 {export}
"""
SERVER_S_KERNEL = """modprobe -a sunrpc lockd nfsd
mount -t rpc_pipefs rpc_pipefs /var/lib/nfs/rpc_pipefs
mount -t nfsd nfsd /proc/fs/nfsd
for file in /proc/fs/nfsd/nfsv4leasetime /proc/fs/nfsd/nfsv4gracetime /proc/sys/fs/nfs/nlm_grace_period; do
    echo {lease} >$file
done
rpcbind -w
rpc.statd --no-notify"""
SERVER_S_DAEMONS = """rpc.nfsd -V 3 -V 4.2 8
rpc.mountd"""

CLIENT = """set -e
modprobe -a sunrpc lockd nfs nfsv3 nfsv4
if ! mountpoint -q /var/lib/nfs/rpc_pipefs; then
    mount -t rpc_pipefs rpc_pipefs /var/lib/nfs/rpc_pipefs
    rpcbind -w
    rpc.statd --no-notify
fi
"""
MOUNT = """mkdir -p {path}
mount.nfs {source} {path} -o hard,{options}
"""


def serve(host, options=SAFE, lease=LEASE):
    mount_disk(host)
    kernel = SERVER_S_KERNEL.format(lease=lease)
    host.run(SERVER.format(export=EXPORT, options=options, kernel=kernel, daemons=SERVER_S_DAEMONS))


def mount_disk(host):
    """As `serve` does; who does it before can look at the disk while nobody else can."""
    host.run(DISK)


def export(host, folder, options, uid):
    """A folder on the disk of a host that serves already, which belongs to a user."""
    directory = f"{EXPORT}/{folder}"
    # NFS 4 reaches it through the export above, whose options it would have were it no mount of its own.
    host.run(f"""set -e
mkdir -p {directory}; mount --bind {directory} {directory}
chown {uid} {directory}; chmod 700 {directory}; exportfs -o {options} '*:{directory}'""")


def mount(host, server, version, path=SPOOL, folder=""):
    root = "" if version.startswith("4") else EXPORT
    host.run(CLIENT + MOUNT.format(source=f"{server.address}:{root}/{folder}", path=path, options=VERSIONS[version]))

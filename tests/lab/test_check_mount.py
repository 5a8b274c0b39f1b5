# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""`mailspool check-mount` on real NFS: a fit mount passes, alone and by two hosts; a squashed root is told.

What nobody can see from a client, an async export, it says that it cannot see.
"""

import json
import pwd

import pytest

from tests.lab import nfs

KINDS = {"3": "async", "4.2": "squashed"}  # what is tried with which version
USER = "daemon"  # not root, and not whom a server makes of root

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

EXPORTS = {
    "async": "rw,async,no_subtree_check,no_root_squash,fsid=7",
    "squashed": "rw,sync,no_subtree_check,root_squash,fsid=8",
}


def command(shared, host, *options):
    return host.start_python("bin/mailspool", "check-mount", "-c", shared.config(host), "--json", *options)


def findings(host, running):
    """[(area, level, text)], and the exit code."""
    result = host.wait(running, check=False)
    told = json.loads(result.text.splitlines()[-1])["findings"]
    return [(each["check"], each["level"], each["text"]) for each in told], result.code


def of_level(found, *levels):
    return [each for each in found if each[1] in levels]


def test_a_mount_of_a_sync_export_passes_alone_and_by_two_hosts_and_may_then_be_used(shared):
    a, b = shared.hosts[:2]
    shared.make_spool()
    shared.configure(a, shared=True)
    assert "mailspool check-mount" in a.python("bin/mailspoold", "--check", "-c", shared.config(a), check=False).text
    found, code = findings(a, command(shared, a))
    print(*of_level(found, "warning", "problem"), sep="\n")
    assert (of_level(found, "problem"), code) == ([], 0)
    a.python("bin/mailspoold", "--check", "-c", shared.config(a))  # may be started now
    both = [(host, command(shared, host, "--peers", "2")) for host in (a, b)]
    for host, running in both:
        found, code = findings(host, running)
        print(*(each for each in found if each[0] in {"listing", "rename", "clock"}), sep="\n")
        assert (of_level(found, "problem"), code) == ([], 0)
        assert [text for area, _, text in found if area == "listing"]


def test_what_a_client_cannot_see_is_said_and_a_squashed_root_is_told(shared):
    kind = KINDS[shared.version]
    host, path = shared.hosts[2], f"/run/{kind}"
    shared.configure(host, user=USER)
    nfs.export(shared.server, kind, EXPORTS[kind], pwd.getpwnam(USER).pw_uid)
    nfs.mount(host, shared.server, shared.version, path=path, folder=kind)
    found, code = findings(host, command(shared, host, path))
    host.run(f"umount.nfs {path}")
    print(code, *of_level(found, "warning", "problem"), sep="\n")
    assert any("async" in text for area, _, text in found if area == "unseen")
    if kind == "squashed":
        assert any("squash" in text for area, _, text in found if area == "uid")
    else:
        assert of_level(found, "problem") == []

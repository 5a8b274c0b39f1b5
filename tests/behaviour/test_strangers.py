# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What stands in a tier and is no whole message is never followed, waited on or sent; mail beside it goes on."""

import os
from pathlib import Path

from mailspool.store.base import Location, State
from tests.running import eventually

MESSAGE = "Subject: hello\n\nworld\n"
ONE_WORKER = {"max_dequeue_processes": 1, "dequeue_timeout": 0.2}


def quarantined(spool):
    return {at.name: spool.store.reason(at) for at in spool.store.locations() if at.state is State.QUARANTINED}


def test_a_message_cut_off_at_any_octet_is_put_aside_with_the_reason_and_never_sent(daemon, make_spool, sink):
    spool = make_spool(sink=sink)
    spool.send_mail(to="joe@x.example", from_="me@y.example", message=MESSAGE)
    (whole,) = spool.store.locations()
    content = Path(spool.store.path(whole)).read_bytes()
    spool.store.delete(whole)
    for length in range(len(content)):
        node_id = spool.new_message_id()
        torn = content.replace(whole.name.split("-")[1].partition(".")[0].encode(), node_id.encode())[:length]
        Path(spool.store.path(Location(State.QUEUED, 0, f"0-{node_id}.0-x.example"))).write_bytes(torn)
    running = daemon(sink=sink, **ONE_WORKER)
    eventually(lambda: len(quarantined(spool)) == len(content))
    assert all(quarantined(spool).values())
    spool.send_mail(to="ann@x.example", from_="me@y.example", message=MESSAGE)
    eventually(lambda: sink.recipients)
    assert sink.recipients == ["ann@x.example"]
    assert running.stop() == 0


def test_nothing_that_is_no_file_is_followed_delivered_or_waited_on(daemon, make_spool, sink, tmp_path):
    spool = make_spool(sink=sink)
    secret = tmp_path / "secret"
    secret.write_bytes(b'{"id":"X","sender":"","recipients":[{"address":"thief@x.example"}],"arrival":1}\nsecret')
    tier = Path(spool.store.root, "0")
    names = [f"0-{spool.new_message_id()}.0-x.example" for _ in range(5)]
    os.mkfifo(tier / names[0])
    (tier / names[1]).mkdir()
    (tier / names[2]).symlink_to(secret)
    (tier / names[3]).symlink_to("/nowhere")
    (tier / names[4]).touch()
    foreign = ["README", ".hidden", "lock.1234", "folder"]
    for name in foreign[:3]:
        (tier / name).write_bytes(b"not mine")
    (tier / "folder").mkdir()
    (tier / ".nfs0000000000c0ffee").write_bytes(b"NFS's own")
    spool.send_mail(to="joe@x.example", from_="me@y.example", message=MESSAGE)
    running = daemon(sink=sink, **ONE_WORKER)
    eventually(lambda: sink.recipients == ["joe@x.example"])
    eventually(lambda: set(quarantined(spool)) == {*names, *foreign})
    assert all(quarantined(spool).values())
    assert os.listdir(tier) == [".nfs0000000000c0ffee"]
    assert secret.read_bytes().endswith(b"secret")
    assert "overdue" not in running.log
    assert running.stop() == 0
    assert sink.recipients == ["joe@x.example"]

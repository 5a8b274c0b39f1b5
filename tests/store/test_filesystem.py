# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The spool in a directory: what may stand in it, who may read it, and what the disk may refuse."""

import errno
import os
import resource
import shutil
import signal
import socket
import stat
from contextlib import suppress
from pathlib import Path

import pytest

from mailspool.errors import ClaimLost, SpoolError, Unreadable, UsageError
from mailspool.model.envelope import Envelope, Recipient
from mailspool.model.outcome import Attempt
from mailspool.store import fsops, messagefile
from mailspool.store.base import Location, State
from mailspool.store.claim import Attempts, this_owner
from mailspool.store.filesystem import WRITING_TIME, FileStore
from mailspool.store.recover import ABANDONED

MESSAGE = b"Subject: hello\r\n\r\n.dot\r\nworld\r\n"
NOW = 1_700_000_000
NODE = "5-A.0-a.example"


def queued(name, tier=0):
    return Location(State.QUEUED, tier, name)


def files(store):
    """All names in the spool that are no directories."""
    return sorted(str(p.relative_to(store.root)) for p in Path(store.root).rglob("*") if not p.is_dir())


def refuse(number):
    def call(*_args, **_kwargs):
        raise OSError(number, os.strerror(number))

    return call


# --- the house


def test_who_hands_in_mail_before_there_is_a_spool_is_told_how_to_make_one(tmp_path, letter):
    store = FileStore(tmp_path / "spool", this_owner())
    with pytest.raises(SpoolError, match="starting mailspoold makes it"):
        store.accept(letter(), [MESSAGE], NOW)


def test_who_may_not_write_to_the_spool_is_told_who_may(tmp_path, letter, monkeypatch):
    store = FileStore(tmp_path / "spool", this_owner())
    store.create(1)
    monkeypatch.setattr(os, "open", refuse(errno.EACCES))  # root is never refused
    with pytest.raises(SpoolError, match="only root and the owner"):
        store.accept(letter(), [MESSAGE], NOW)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o277, 0o777])
def test_files_and_directories_are_private_whatever_the_umask(tmp_path, letter, mask):
    store = FileStore(tmp_path / "spool", this_owner())
    old = os.umask(mask)
    try:
        store.create(1)
        (name,) = store.accept(letter(), [MESSAGE], NOW)
        store.record("A.0", [Attempt(1.0, 0, "", "", "")])
        store.claim(queued(name), "w1.1")
    finally:
        os.umask(old)
    for path in [Path(store.root), *Path(store.root).rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_create_makes_all_rooms_but_no_usage_folder(tmp_path):
    store = FileStore(tmp_path / "spool", this_owner())
    store.create(2)
    assert sorted(os.listdir(store.root)) == [
        "0", "1", "claimed", "held", "history", "hosts", "incoming", "quarantine",
    ]  # fmt: skip


def test_a_spool_that_is_a_symbolic_link_is_refused(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "spool").symlink_to("real")
    for root in ("spool", "spool/"):
        with pytest.raises(SpoolError, match="symbolic link"):
            FileStore(f"{tmp_path}/{root}", this_owner()).create(1)
    assert os.listdir(tmp_path / "real") == []


def test_a_spool_that_anybody_may_write_to_is_refused_with_the_fix(tmp_path):
    root = tmp_path / "spool"
    root.mkdir()
    root.chmod(0o1777)
    with pytest.raises(SpoolError, match=f"chmod 0700 {root}"):
        FileStore(root, this_owner()).create(1)


def test_a_spool_of_somebody_else_is_refused_unless_we_are_root(spool, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: os.stat(spool.root).st_uid + 1)
    with pytest.raises(SpoolError, match="belongs to uid"):
        spool.check()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    spool.check()


def test_a_file_in_the_place_of_a_directory_is_named(tmp_path):
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool/incoming").write_bytes(b"")
    with pytest.raises(SpoolError, match="incoming: Not a directory"):
        FileStore(tmp_path / "spool", this_owner()).create(1)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_makes_belongs_to_the_owner_of_the_spool(spool, letter):
    for path in [Path(spool.root), *Path(spool.root).rglob("*")]:
        os.chown(path, 1234, 2345)
    (name,) = spool.accept(letter(), [MESSAGE], NOW)
    spool.record("A.0", [Attempt(1.0, 0, "", "", "")])
    spool.quarantine(spool.claim(queued(name), "w1.1"), "why")
    for path in Path(spool.root).rglob("*"):
        assert (path.stat().st_uid, path.stat().st_gid) == (1234, 2345), path


def test_tiers_are_those_that_exist_and_nothing_else(spool):
    for odd in ("07", "x", "²", "-1", "12"):
        (Path(spool.root) / odd).mkdir()
    assert spool.tiers() == [0, 1, 2, 12]


def test_a_spool_that_was_not_made_is_empty_and_accepts_nothing(tmp_path, letter):
    store = FileStore(tmp_path / "none", this_owner())
    assert store.tiers() == []
    assert store.names(0) == []
    assert list(store.locations()) == []
    with pytest.raises(SpoolError, match=r"none/incoming/.*: No such file"):
        store.accept(letter(), [MESSAGE], NOW)


def test_a_spool_below_a_symbolic_link_is_used_by_its_real_name(tmp_path, letter):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    store = FileStore(tmp_path / "link/spool", this_owner())
    store.create(1)
    store.accept(letter(), [MESSAGE], NOW)
    assert store.root == str(tmp_path.resolve() / "real/spool")


@pytest.mark.parametrize("room", ["incoming", "quarantine", "history"])
def test_nothing_is_written_through_a_symbolic_link_in_the_place_of_a_room(spool, tmp_path, letter, room):
    (name,) = spool.accept(letter(), [MESSAGE], NOW)
    (tmp_path / "elsewhere").mkdir()
    os.rmdir(f"{spool.root}/{room}")
    os.symlink(tmp_path / "elsewhere", f"{spool.root}/{room}")
    with pytest.raises(SpoolError):  # noqa: PT012 - one of the three writes into this room
        spool.accept(letter(), [MESSAGE], NOW)
        spool.record("A.0", [Attempt(1.0, 0, "", "", "")])
        spool.quarantine(queued(name), "why")
    assert os.listdir(tmp_path / "elsewhere") == []


# --- the way in


def test_a_tier_that_is_missing_is_a_fault_and_no_lost_claim(spool, letter):
    """Who settles a node by accepting its bounce must not think that the node is somebody else's."""
    os.rmdir(f"{spool.root}/0")
    with pytest.raises(SpoolError) as caught:
        spool.accept(letter(), [MESSAGE], NOW)
    assert not isinstance(caught.value, ClaimLost)
    assert files(spool) == []


def test_a_thousand_recipients_are_a_thousand_names_of_one_file(spool, letter):
    names = spool.accept(letter(*[f"user{n}@host{n}.example" for n in range(1000)]), [MESSAGE], NOW)
    facts = [os.stat(spool.path(queued(name))) for name in names]
    assert len({f.st_ino for f in facts}) == 1
    assert facts[0].st_nlink == 1000
    with spool.open(queued(names[999])).file as file:
        assert file.read() == MESSAGE


@pytest.mark.parametrize("number", [errno.EPERM, errno.EMLINK, errno.EXDEV, errno.ENOTSUP])
def test_where_no_link_can_be_made_each_node_is_a_whole_copy(spool, letter, monkeypatch, number):
    monkeypatch.setattr(os, "link", refuse(number))
    names = spool.accept(letter("a@a.example", "b@b.example"), [MESSAGE * 100_000], NOW)
    for name in names:
        assert os.stat(spool.path(queued(name))).st_nlink == 1
        with spool.open(queued(name)).file as file:
            assert file.read() == MESSAGE * 100_000
    assert files(spool) == sorted(f"0/{name}" for name in names)


def test_an_error_at_the_second_link_takes_the_first_node_back(spool, letter, monkeypatch):
    link, made = os.link, []

    def only_once(source, target):
        if made:
            raise OSError(errno.EIO, "I/O error")
        made.append(target)
        link(source, target)

    monkeypatch.setattr(os, "link", only_once)
    with pytest.raises(SpoolError, match="I/O error"):
        spool.accept(letter("a@a.example", "b@b.example"), [MESSAGE], NOW)
    assert made
    assert files(spool) == []


def test_a_failed_copy_leaves_no_draft(spool, letter, monkeypatch):
    monkeypatch.setattr(os, "link", refuse(errno.EPERM))
    monkeypatch.setattr(os, "rename", refuse(errno.EIO))
    with pytest.raises(SpoolError):
        spool.accept(letter(), [MESSAGE], NOW)
    assert files(spool) == []


def test_a_copy_whose_rename_was_denied_but_made_is_a_node(spool, letter, monkeypatch):
    monkeypatch.setattr(os, "link", refuse(errno.EPERM))
    rename = os.rename

    def answer_lost(source, target):
        rename(source, target)
        rename(source, target)

    monkeypatch.setattr(os, "rename", answer_lost)
    (name,) = spool.accept(letter(), [MESSAGE], NOW)
    assert files(spool) == [f"0/{name}"]


def test_a_file_that_was_made_and_cannot_be_given_its_mode_is_not_left(spool, letter, monkeypatch):
    monkeypatch.setattr(os, "fchmod", refuse(errno.EIO))
    with pytest.raises(SpoolError):
        spool.accept(letter(), [MESSAGE], NOW)
    assert files(spool) == []


def test_an_error_from_closing_what_was_only_read_says_nothing(spool, letter, monkeypatch):
    (name,) = spool.accept(letter(), [MESSAGE], NOW)
    close = os.close
    monkeypatch.setattr(os, "close", lambda fd: (close(fd), refuse(errno.EIO)()))
    with spool.open(queued(name)).file as file:
        assert file.read() == MESSAGE


@pytest.mark.parametrize("failing", [1, 2])
def test_an_error_of_fsync_is_final_and_nothing_stays(spool, letter, monkeypatch, failing):
    calls = []

    def fsync(fd):
        calls.append(fd)
        if len(calls) == failing:
            raise OSError(errno.EIO, "I/O error")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(SpoolError, match="cannot sync"):
        spool.accept(letter(), [MESSAGE], NOW)
    assert len(calls) == failing
    assert files(spool) == []


def test_a_repeated_link_request_that_nfs_denies_is_a_link(spool, letter, monkeypatch):
    link = os.link

    def twice(source, target):
        link(source, target)
        link(source, target)

    monkeypatch.setattr(os, "link", twice)
    (name,) = spool.accept(letter(), [MESSAGE], NOW)
    assert files(spool) == [f"0/{name}"]


def test_a_full_disk_is_an_error_that_names_the_file_and_leaves_nothing(spool, letter):
    """EFBIG stands for ENOSPC: a real error of a real write, half of which succeeds."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
            try:
                spool.accept(letter(), [b"x" * 70_000 + b"\r\n"] * 2, NOW)
            except SpoolError as error:
                status = 0 if "incoming/" in str(error) and "File too large" in str(error) else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert files(spool) == []


def test_a_history_line_that_does_not_fit_is_an_error_and_costs_no_other(spool):
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
            try:
                spool.record("A.0", [Attempt(1.0, 0, "", "", "x" * 200)])
            except SpoolError:
                status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    spool.record("A.0", [Attempt(2.0, 0, "", "", "two")])
    spool.record("A.0", [Attempt(3.0, 0, "", "", "three")])
    assert [a.text for a in spool.history("A.0")] == ["two", "three"]


def test_the_leftover_in_incoming_is_no_reason_to_say_no(spool, letter, monkeypatch):
    monkeypatch.setattr(os, "unlink", refuse(errno.EIO))
    (name,) = spool.accept(letter(), [MESSAGE], NOW)
    assert spool.names(0) == [name]


# --- what may stand in a tier


# --- the time to write


def test_a_writer_that_takes_too_long_gives_up_before_anybody_may_sweep_its_draft(spool, letter, clock):
    assert WRITING_TIME < ABANDONED / 1.2
    slow = FileStore(spool.root, spool.owner, boot_clock=clock)

    def chunks(pause):
        yield b"Subject: slow\r\n\r\n"
        clock.now += pause
        yield b"at last\r\n"
        clock.now += 0.5

    assert slow.accept(letter(), chunks(WRITING_TIME - 0.5), NOW)
    for pause in (WRITING_TIME - 0.4, WRITING_TIME + 1):  # seen before the first link, and at the next chunk
        before = files(spool)
        with pytest.raises(SpoolError, match="took longer than 24 hours"):
            slow.accept(letter(), chunks(pause), NOW)
        assert files(spool) == before


def test_a_writer_that_gives_up_between_two_links_takes_the_first_back(spool, letter, clock, monkeypatch):
    slow, link = FileStore(spool.root, spool.owner, boot_clock=clock), fsops.link

    def slowly(source, target):
        link(source, target)
        clock.now += WRITING_TIME

    monkeypatch.setattr(fsops, "link", slowly)
    with pytest.raises(SpoolError, match="took longer"):
        slow.accept(letter("a@a.example", "b@b.example", "c@c.example"), [MESSAGE], NOW)
    assert files(spool) == []


@pytest.mark.parametrize("copies", [False, True])
def test_a_writer_whose_draft_was_swept_while_it_was_frozen_says_no_and_leaves_nothing(
    spool, letter, monkeypatch, copies
):
    link = fsops.link

    def swept(source, target):
        monkeypatch.undo()
        for name in os.listdir(f"{spool.root}/incoming"):
            os.unlink(f"{spool.root}/incoming/{name}")
        if copies:
            raise fsops.CannotLink(target)
        link(source, target)

    monkeypatch.setattr(fsops, "link", swept)
    with pytest.raises(SpoolError) as error:
        spool.accept(letter("a@a.example", "b@b.example"), [MESSAGE], NOW)
    assert not isinstance(error.value, ClaimLost)
    assert files(spool) == []


def test_a_file_cut_off_anywhere_is_never_opened(spool, letter):
    (name,) = spool.accept(letter(), [MESSAGE], NOW)
    path = Path(spool.path(queued(name)))
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(Unreadable):
            spool.open(queued(name))
    path.write_bytes(whole + b"x")
    with pytest.raises(Unreadable, match=f"longer .* {len(whole) + 1} of {len(whole)} octets"):
        spool.open(queued(name))
    path.write_bytes(whole)
    spool.open(queued(name)).file.close()


@pytest.mark.parametrize(
    "line",
    [b"\n", b"[]\n", b"{}\n", b"\xff\n", b'{"id":1}\n', b" " * 300 + b"\n", b"\0" * 500, b'{"id":"\xff"}\n'],
)
def test_a_first_line_that_is_no_envelope_is_unreadable(spool, line):
    Path(spool.path(queued(NODE))).write_bytes(line + MESSAGE)
    with pytest.raises(Unreadable, match=NODE):
        spool.open(queued(NODE))


def test_a_format_from_the_future_is_unreadable(spool, letter):
    (name,) = spool.accept(letter(), [MESSAGE], NOW)
    path = Path(spool.path(queued(name)))
    line, _, message = path.read_bytes().partition(b"\n")
    path.write_bytes(line.rstrip().replace(b"{", b'{"version":2,', 1) + b"\n" + message)
    with pytest.raises(Unreadable, match="format 2"):
        spool.open(queued(name))


def test_a_first_line_without_end_is_not_read_to_the_end(spool, monkeypatch):
    monkeypatch.setattr(messagefile, "MAX_ENVELOPE", 1000)
    Path(spool.path(queued(NODE))).write_bytes(b" " * 2000 + b"\n")
    with pytest.raises(Unreadable, match="no envelope line"):
        spool.open(queued(NODE))


def test_an_envelope_that_could_not_be_read_again_is_refused(spool, monkeypatch, letter):
    monkeypatch.setattr(messagefile, "MAX_ENVELOPE", 1000)
    with pytest.raises(UsageError, match="split"):
        spool.accept(letter(*["joe@a.example"] * 100), [MESSAGE], NOW)
    assert files(spool) == []


def plant_fifo(path):
    os.mkfifo(path)


def plant_link(path):
    Path(path + ".target").write_bytes(b"secret")
    os.symlink(path + ".target", path)


def plant_dangling_link(path):
    os.symlink("/nonexistent", path)


def plant_empty(path):
    Path(path).write_bytes(b"")


def plant_socket(path):
    with socket.socket(socket.AF_UNIX) as sock:
        folder = os.open(os.path.dirname(path), os.O_RDONLY)
        try:
            sock.bind(f"/proc/self/fd/{folder}/{os.path.basename(path)}")
        finally:
            os.close(folder)


@pytest.mark.parametrize("plant", [plant_fifo, plant_link, plant_dangling_link, plant_empty, plant_socket, os.mkdir])
def test_what_is_no_file_is_neither_followed_nor_waited_on_but_put_aside(spool, plant):
    plant(spool.path(queued(NODE)))
    with pytest.raises(Unreadable):
        spool.open(queued(NODE))
    claim = spool.claim(queued(NODE), "w1.1")
    with pytest.raises(Unreadable):
        spool.open(claim)
    place = spool.quarantine(claim, "no file")
    assert place == Location(State.QUARANTINED, 0, NODE)
    assert spool.reason(place) == "no file"
    assert os.path.lexists(spool.path(place))


def test_a_link_over_an_existing_name_of_the_same_message_is_no_move(spool, letter):
    one, two = spool.accept(letter("a@a.example", "b@b.example"), [MESSAGE], NOW)
    with pytest.raises(SpoolError, match="there already"):
        spool.move(queued(one), queued(two))
    assert sorted(spool.names(0)) == sorted([one, two])


@pytest.mark.parametrize("name", ["../0/x", "a/b", "", ".", "..", "a\0b"])
def test_a_name_cannot_lead_out_of_its_directory(spool, name):
    for location in (queued(name), Location(State.CLAIMED, 0, NODE, name)):
        with pytest.raises(Unreadable):
            spool.open(location)
    with pytest.raises(Unreadable):
        spool.history(name)


def test_names_of_nfs_are_ignored_and_others_are_not(spool):
    for name in (".nfs000123", ".hidden", "README"):
        Path(spool.root, "0", name).write_bytes(b"")
    assert sorted(spool.names(0)) == [".hidden", "README"]


# --- claims


def test_of_four_processes_each_node_is_claimed_by_exactly_one(spool, letter):
    names = spool.accept(letter(*[f"{n}@a.example" for n in range(300)]), [MESSAGE], NOW)
    children = []
    for number in range(4):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                attempts = Attempts(f"w{number}")
                for name in names:
                    with suppress(ClaimLost):
                        spool.claim(queued(name), next(attempts))
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    claimed = [at.name.partition("~")[0] for at in spool.claims("")]
    assert sorted(claimed) == sorted(names)
    assert spool.names(0) == []


def test_a_claim_that_was_denied_but_made_holds(spool, letter, monkeypatch):
    """NFS: the server renamed, the answer was lost, the repeated request found nothing."""
    (name,) = spool.accept(letter(), [MESSAGE], NOW)
    rename = os.rename

    def answer_lost(source, target):
        rename(source, target)
        rename(source, target)

    monkeypatch.setattr(os, "rename", answer_lost)
    claim = spool.claim(queued(name), "w1.1")
    monkeypatch.undo()
    assert spool.claims("w1.") == [claim]


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ESTALE])
def test_a_claim_that_was_denied_and_not_made_is_lost(spool, letter, monkeypatch, number):
    (name,) = spool.accept(letter(), [MESSAGE], NOW)
    monkeypatch.setattr(os, "rename", refuse(number))
    with pytest.raises(ClaimLost):
        spool.claim(queued(name), "w1.1")


def test_a_fault_while_claiming_is_no_lost_claim(spool, letter, monkeypatch):
    (name,) = spool.accept(letter(), [MESSAGE], NOW)
    monkeypatch.setattr(os, "rename", refuse(errno.EIO))
    with pytest.raises(SpoolError) as caught:
        spool.claim(queued(name), "w1.1")
    assert not isinstance(caught.value, ClaimLost)


@pytest.mark.parametrize("step", ["seal", "move", "delete", "quarantine", "open"])
def test_a_claim_that_is_there_is_not_lost_whatever_the_file_server_says(spool, letter, monkeypatch, step):
    """Else it would stay claimed as long as its owner lives, and nobody would know."""
    (name,) = spool.accept(letter(), [MESSAGE], NOW)
    claim = spool.claim(queued(name), "w1.1")
    more = {"move": (queued(name),), "quarantine": ("why",)}.get(step, ())
    real = os.open
    with monkeypatch.context() as patch:
        for call in ("rename", "unlink"):
            patch.setattr(os, call, refuse(errno.ESTALE))
        if step == "open":  # the first time
            patch.setattr(os, "open", lambda *a, **k: (patch.setattr(os, "open", real), refuse(errno.ESTALE)()))
        with pytest.raises(SpoolError, match="but it is there") as caught:
            getattr(spool, step)(claim, *more)
    assert not isinstance(caught.value, ClaimLost)
    assert spool.claims("w1.") == [claim]


def test_a_claim_whose_next_tier_was_removed_is_not_lost(spool, letter):
    (name,) = spool.accept(letter(), [MESSAGE], NOW)
    claim = spool.claim(queued(name), "w1.1")
    spool.move(spool.move(claim, queued(name, 1)), queued(name))
    claim = spool.claim(queued(name), "w1.2")
    shutil.rmtree(f"{spool.root}/1")
    with pytest.raises(SpoolError, match="but it is there"):
        spool.move(claim, queued(name, 1))
    assert spool.claims("w1.") == [claim]


def test_an_owner_whose_directory_was_taken_away_can_claim_no_more(spool, letter):
    one, two = spool.accept(letter("a@a.example", "b@b.example"), [MESSAGE], NOW)
    spool.move(spool.claim(queued(one), "w1.1"), queued(one))
    for path in (f"{spool.root}/claimed/{spool.owner}/0", f"{spool.root}/claimed/{spool.owner}"):
        os.rmdir(path)
    with pytest.raises(ClaimLost):  # its lease tells it why
        spool.claim(queued(two), "w1.2")
    assert sorted(spool.names(0)) == sorted([one, two])


def test_a_claim_is_one_system_call_on_names(spool, letter, monkeypatch):
    one, two = spool.accept(letter("a@a.example", "b@b.example"), [MESSAGE], NOW)
    spool.claim(queued(one), "w1.1")
    for name in ("mkdir", "open", "stat", "lstat", "link", "unlink", "fsync"):
        monkeypatch.setattr(os, name, refuse(errno.EIO))
    spool.claim(queued(two), "w1.2")


# --- the envelope alone: read in passing it is as it is when read with care, and so is what is wrong with it

SMALL, LARGE = MESSAGE, MESSAGE + b"x" * 70 + b"\r\n" + b"y\r\n" * 5000


def outcome(look):
    try:
        found = look()
    except SpoolError as error:
        return type(error), str(error)
    return found


def in_passing(spool, location):
    with spool.envelopes() as envelope_of:
        return envelope_of(location)


def both(spool, location):
    """What is read in passing, which is checked to be what is read with care."""
    glanced = outcome(lambda: in_passing(spool, location))
    assert glanced == outcome(lambda: spool.envelope(location))
    assert glanced == outcome(lambda: spool.open(location).envelope)
    return glanced


def rewritten(spool, name, change):
    path = Path(spool.path(queued(name)))
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize("message", [SMALL, LARGE, b"", MESSAGE + b"z" * 4096])
@pytest.mark.parametrize("recipients", [1, 2, 200])
def test_an_envelope_is_the_one_that_was_accepted(spool, letter, message, recipients):
    envelope = letter(*(f"r{n}@a.example" for n in range(recipients)))
    for name in spool.accept(envelope, [message], NOW)[:3]:
        assert both(spool, queued(name)).recipients == envelope.recipients


def test_an_envelope_that_is_small_and_whole_needs_no_second_look(spool, letter, monkeypatch):
    for message in (SMALL, LARGE):
        (name,) = spool.accept(letter(), [message], NOW)
        with monkeypatch.context() as patch:
            patch.setattr(fsops, "open_regular", refuse(errno.EIO))
            glanced = in_passing(spool, queued(name))
        assert glanced == spool.open(queued(name)).envelope


@pytest.mark.parametrize("message", [SMALL, LARGE])
@pytest.mark.parametrize(
    "change",
    [
        lambda octets: octets[:-1],
        lambda octets: octets + b"\n",
        lambda octets: octets.replace(b'"version":1', b'"version":2').replace(b"{", b'{"version":2,', 1),
        lambda octets: octets[1:],
        lambda octets: octets.replace(b"\n", b" ", 1),
        lambda octets: octets.replace(b"me@", b"m\xff@", 1),
        lambda octets: b"\n" + octets,
        lambda _octets: b"",
        lambda _octets: b"\0" * 5000,
    ],
)
def test_a_fault_is_told_in_passing_in_the_same_words(spool, letter, message, change):
    (name,) = spool.accept(letter(), [message], NOW)
    rewritten(spool, name, change)
    assert both(spool, queued(name))[0] is Unreadable


def test_a_name_that_is_not_its_messages_is_told_in_passing(spool, letter):
    (name,) = spool.accept(letter(), [MESSAGE], NOW)
    (other,) = spool.accept(letter(), [MESSAGE], NOW)
    path = spool.path(queued(name))
    for wrong in (name.replace(".0-", ".1-"), name.replace("a.example", "A.example"), f"1{other}", "rubbish"):
        os.link(path, spool.path(queued(wrong, 1)))
        assert both(spool, queued(wrong, 1))[0] is Unreadable
    os.link(path, spool.path(Location(State.QUARANTINED, 0, "rubbish")))
    assert both(spool, Location(State.QUARANTINED, 0, "rubbish")).id in name


def test_the_envelope_of_a_claim_is_read_as_the_node_s_is(spool, letter):
    (name,) = spool.accept(letter(), [MESSAGE], NOW)
    claim = spool.seal(spool.claim(queued(name), "w1.1"))
    assert both(spool, claim).id in name


def test_an_envelope_that_is_gone_is_a_lost_claim(spool):
    assert both(spool, queued("1-A.0-x"))[0] is ClaimLost


@pytest.mark.parametrize("plant", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_not_waited_on_in_passing(spool, letter, plant):
    (name,) = spool.accept(letter(), [MESSAGE], NOW)
    location = queued(name, 1)
    plant(spool.path(location))
    assert both(spool, location)[0] is Unreadable


def test_a_symbolic_link_is_not_followed_not_even_to_a_whole_message(spool, letter):
    (name,) = spool.accept(letter(), [MESSAGE], NOW)
    location = queued(name, 1)
    os.symlink(spool.path(queued(name)), spool.path(location))
    assert both(spool, location)[0] is Unreadable


def test_a_glance_leaves_no_descriptor_open(spool, letter):
    (name,) = spool.accept(letter(), [LARGE], NOW)
    os.mkfifo(spool.path(queued(name, 1)))
    before = os.listdir("/proc/self/fd")
    with spool.envelopes() as envelope_of:
        assert envelope_of(queued(name)).id in name
        for location, error in ((queued(name, 1), Unreadable), (queued(name, 2), ClaimLost)):
            with pytest.raises(error):
                envelope_of(location)
    assert os.listdir("/proc/self/fd") == before


def test_directories_are_held_open_while_many_are_read_but_only_a_few_of_them(spool, letter):
    places = []
    for day in range(40):
        (name,) = spool.accept(letter(), [MESSAGE], NOW + day * 86400)
        places.append(spool.move(queued(name), queued(name, 1)))
    before = len(os.listdir("/proc/self/fd"))
    with spool.envelopes() as envelope_of:
        for _ in range(2):
            assert [envelope_of(at).id for at in places] == [at.name.split("-")[1].split(".")[0] for at in places]
        assert before < len(os.listdir("/proc/self/fd")) < before + 20
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_name_that_leads_elsewhere_is_read_neither_way(spool, letter):
    (name,) = spool.accept(letter(), [MESSAGE], NOW)
    Path(spool.root, "0", "folder").mkdir()
    os.rename(spool.path(queued(name)), Path(spool.root, "0", "folder", name))
    assert both(spool, queued(f"folder/{name}"))[0] is Unreadable


# --- quarantine


def test_two_things_of_one_name_are_both_kept_each_with_its_reason(spool):
    places = []
    for n in range(3):
        Path(spool.root, "0", "odd").write_bytes(b"%d" % n)
        places.append(spool.quarantine(queued("odd"), f"reason {n}"))
    assert [at.name for at in places] == ["odd", "odd.2", "odd.3"]
    assert [spool.reason(at) for at in places] == ["reason 0", "reason 1", "reason 2"]
    assert [Path(spool.path(at)).read_bytes() for at in places] == [b"0", b"1", b"2"]


def test_what_stands_in_quarantine_without_a_reason_is_not_replaced(spool):
    Path(spool.root, "quarantine", "odd").write_bytes(b"old")
    Path(spool.root, "0", "odd").write_bytes(b"new")
    assert spool.quarantine(queued("odd"), "why").name == "odd.2"
    assert Path(spool.root, "quarantine", "odd").read_bytes() == b"old"
    assert spool.reason(Location(State.QUARANTINED, 0, "odd")) == ""


@pytest.mark.parametrize(
    "name", ["x" * 255, "é" * 127, b"\xff\xfe".decode(errors="surrogateescape"), "odd.reason", "~a"]
)
def test_any_name_can_be_quarantined_and_is_listed(spool, name):
    Path(spool.root, "0", name).write_bytes(b"")
    place = spool.quarantine(queued(name), "why")
    assert spool.names(0, State.QUARANTINED) == [place.name]
    assert spool.reason(place) == "why"


def test_a_directory_full_of_things_is_quarantined_whole(spool):
    folder = Path(spool.root, "0", "folder")
    folder.mkdir()
    (folder / "letter").write_bytes(b"dear")
    place = spool.quarantine(queued("folder"), "a directory")
    assert Path(spool.path(place), "letter").read_bytes() == b"dear"
    with pytest.raises(SpoolError):
        spool.delete(place)


def test_an_envelope_survives_the_way_through_the_file(spool):
    envelope = Envelope(
        "A",
        "",
        (Recipient("jané@a.example", ("SUCCESS", "FAILURE"), "rfc822;x@y"), Recipient('"a\\"b/c"@a.example')),
        1.25,
        "host",
        "user",
        "HDRS",
        "envid",
    )
    name, _ = spool.accept(envelope, [MESSAGE], 5)
    stored = spool.open(queued(name))
    stored.file.close()
    assert stored.envelope.facts.size == len(MESSAGE)
    assert stored.envelope.recipients == envelope.recipients
    assert (stored.envelope.ret, stored.envelope.envid, stored.envelope.arrival) == ("HDRS", "envid", 1.25)


def test_a_read_error_is_a_local_fault_and_no_quarantine(spool, letter, monkeypatch):
    (name,) = spool.accept(letter(), [MESSAGE], NOW)
    monkeypatch.setattr(messagefile, "read", refuse(errno.EIO))
    with pytest.raises(SpoolError) as caught:
        spool.open(queued(name))
    assert not isinstance(caught.value, Unreadable)


def test_reading_commands_change_nothing(spool, letter):
    (name,) = spool.accept(letter(), [MESSAGE], NOW)
    for path in [Path(spool.root), *Path(spool.root).rglob("*")]:
        os.utime(path, (1, 1))
    reader = FileStore(spool.root, this_owner())
    list(reader.locations())
    reader.find("A")
    reader.open(queued(name)).file.close()
    reader.history("A.0")
    assert all(path.stat().st_mtime == 1 for path in Path(spool.root).rglob("*"))
    assert fsops.read_names(f"{spool.root}/claimed") == []

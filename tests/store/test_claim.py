# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""An owner is taken for dead only if it surely is, and no attempt is ever used twice."""

import os
import signal
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailspool.errors import SpoolError, Unreadable
from mailspool.store.claim import Attempts, Owner, has_ended, is_dead, this_owner

owners = st.builds(
    Owner,
    st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True),
    st.from_regex(r"[0-9a-f]{32}", fullmatch=True),
    st.integers(1, 2**22),
    st.integers(0, 2**60),
    st.integers(1, 999_999_999),
)


@given(owners)
def test_every_owner_parses_back_and_fits_behind_an_id(owner):
    assert Owner.parse(str(owner)) == owner
    assert len(f"{'A' * 64}.9999999~{owner}") < 255


@given(st.text())
def test_a_text_is_no_owner_or_parses_to_itself(text):
    try:
        owner = Owner.parse(text)
    except Unreadable:
        return
    assert Owner.parse(str(owner)) == owner


@pytest.mark.parametrize(
    "text", ["", "host", "h." + "0" * 32 + ".0.1", "h." + "0" * 32 + ".1.1.1", "a/b." + "0" * 32 + ".1.1", "lost+found"]
)
def test_what_is_no_owner_is_refused(text):
    with pytest.raises(Unreadable):
        Owner.parse(text)


def test_we_are_alive():
    me = this_owner()
    assert me.pid == os.getpid()
    assert not is_dead(me, me)


def test_an_owner_of_an_earlier_boot_is_dead():
    me = this_owner()
    assert is_dead(me._replace(boot="0" * 32), me)


def test_what_is_no_owners_name_has_not_ended():
    me = this_owner()
    assert has_ended(str(me._replace(boot="0" * 32)), me)
    assert not any(has_ended(text, me) for text in ("", "mx", str(me), f"{me}~rollcall"))


def test_an_owner_whose_pid_is_somebody_elses_now_is_dead():
    me = this_owner()
    assert is_dead(me._replace(start=me.start + 1), me)


def test_the_owners_that_a_process_was_before_are_dead_and_the_one_it_will_be_is_not():
    me = this_owner().next()
    assert str(me) == f"{this_owner()}.2"
    assert is_dead(this_owner(), me)
    assert not is_dead(me, me)
    assert not is_dead(me.next(), me)


def test_no_owner_of_another_host_is_ever_judged():
    me = this_owner()
    assert not is_dead(me._replace(host="other", boot="0" * 32), me)
    assert not is_dead(me._replace(host="other", pid=2**22), me)


def test_a_killed_owner_is_dead_at_once_even_while_nobody_has_reaped_it():
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, str(this_owner()).encode())
        signal.pause()
    os.close(writer)
    with os.fdopen(reader) as pipe:
        owner = Owner.parse(os.read(pipe.fileno(), 300).decode())
        assert not is_dead(owner, this_owner())
        os.kill(child, signal.SIGKILL)
        pipe.read()  # ends when the child has
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        assert is_dead(owner, this_owner())
        os.waitpid(child, 0)
        assert is_dead(owner, this_owner())


def test_a_process_that_proc_hides_counts_as_alive(tmp_path):
    me = this_owner()
    assert not is_dead(me, me, proc=str(tmp_path))


def test_a_process_name_with_blanks_and_brackets_misleads_nobody(tmp_path):
    (tmp_path / "sys/kernel/random").mkdir(parents=True)
    (tmp_path / "sys/kernel/random/boot_id").write_text("6f0c2b9e-0000-4000-8000-123456789abc\n")
    (tmp_path / str(os.getpid())).mkdir()
    rest = " ".join(str(n) for n in range(4, 53))
    (tmp_path / str(os.getpid()) / "stat").write_text(f"{os.getpid()} (a) Z 9 (b)) S {rest}\n")
    assert this_owner(str(tmp_path))[1:] == ("6f0c2b9e000040008000123456789abc", os.getpid(), 22, 1)


def test_without_proc_there_is_no_owner(tmp_path):
    with pytest.raises(SpoolError, match="mount"):
        this_owner(str(tmp_path / "none"))


def test_attempts_count_up_and_begin_with_their_worker():
    assert list(islice(Attempts("w12"), 3)) == ["w12.1", "w12.2", "w12.3"]

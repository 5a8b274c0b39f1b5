# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Whose nodes a user is told of: the own ones, wherever they are."""

import msgspec
import pytest

from mailspool.model.outcome import Attempt
from mailspool.store import nodename
from mailspool.store.base import Location, State
from mailspool.submission.listing import tell, understand
from mailspool.submission.prepare import Login

JOE, SUE = Login(1001, "joe", ""), Login(1002, "sue", "")


@pytest.fixture
def spool(make_spool):
    """Joe's message to two, and Sue's to one."""
    spool = make_spool()
    for user, to in ((JOE, ["a@x.example", "b@x.example"]), (SUE, ["c@x.example"])):
        spool.send_mail(to=to, from_="f@y.example", message="Subject: x\n\nx\n", login=user)
    return spool


def told(spool, user):
    return sorted(
        (each.envelope.user, each.at.state, nodename.node_id_of(each.at.name)[-1])
        for each in understand(tell(spool.store, user))
    )


def test_a_user_is_told_of_the_own_nodes_in_every_state(spool):
    first = min(at for at in spool.store.locations() if spool.node_at(at).envelope.user == "joe")
    spool.store.move(first, first._replace(state=State.HELD))
    assert told(spool, "joe") == [("joe", "held", "0"), ("joe", "queued", "1")]
    assert told(spool, "sue") == [("sue", "queued", "0")]
    assert told(spool, "jo") == []


def test_nobody_by_name_is_everybody(spool):
    assert [user for user, _, _ in told(spool, "")] == ["joe", "joe", "sue"]


def test_what_went_wrong_last_comes_along(spool):
    (at,) = (each.at for each in understand(tell(spool.store, "sue")))
    for text in "first", "last":
        spool.store.record(
            nodename.node_id_of(at.name), [Attempt(time=1.0, tier=0, status="4.4.1", host="mx", text=text)]
        )
    (seen,) = understand(tell(spool.store, "sue"))
    assert seen.trouble == "last"


def test_what_cannot_be_read_is_nobody_s_and_hides_nothing_else(spool):
    (at,) = (each.at for each in understand(tell(spool.store, "sue")))
    with open(spool.store.path(at), "r+b") as file:
        file.truncate(3)
    assert [user for user, _, _ in told(spool, "")] == ["joe", "joe"]


def test_what_bears_no_id_is_not_taken_for_another_that_bears_none(spool):
    for number, at in enumerate(list(spool.store.locations())):
        spool.store.move(at, Location(State.QUARANTINED, 0, f"put here by hand {number}"))
    assert [each.envelope.user for each in understand(tell(spool.store, "sue"))] == ["sue"]
    assert [each.envelope.user for each in understand(tell(spool.store, "joe"))] == ["joe", "joe"]


def test_what_is_no_list_is_not_understood():
    with pytest.raises(msgspec.MsgspecError):
        understand("only messages are taken here\n")

# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The demo's own law catches whatever breaks it."""

import pytest

from mailspool.cli.demo.scenes import Arrived, Scene, Sent, Waiting, fates, is_copy
from mailspool.dsn.notify import Kind
from mailspool.dsn.report import Report, build_report
from mailspool.model.envelope import Envelope, Recipient
from mailspool.model.outcome import Failed

SCENE = Scene("A title", ("bob@good.test",), b"body\r\n")
SENT = Sent("ID", SCENE, 100.0)
COPY = Arrived(103.0, SCENE.recipients, b"Received: x\r\n" + SCENE.message)


def report(tmp_path, kind):
    (tmp_path / "original").write_bytes(SCENE.message)
    envelope = Envelope("ID", SCENE.sender, (Recipient("bob@good.test"),), 100.0)
    case = (Recipient("bob@good.test"), Failed("5.1.1", "mx", "550 no"))
    what = Report(
        kind=kind,
        to=SCENE.sender,
        envelope=envelope,
        cases=(case,),
        host="home.test",
        now=1.0,
        token="0" * 32,
        max_original=1 << 20,
    )
    with (tmp_path / "original").open("rb") as original:
        return Arrived(105.0, (SCENE.sender,), b"".join(build_report(what, original)))


def fate(*arrived, waiting=None):
    (one,) = fates([SENT], arrived, {("ID", "bob@good.test"): waiting} if waiting else {}, {("ID", "bob@good.test"): 2})
    return one


def test_one_whole_copy_is_as_it_should_be():
    one = fate(COPY)
    assert (one.fault, one.copies, one.attempts) == ("", (3.0,), 2)


def test_a_bounce_is_as_it_should_be(tmp_path):
    one = fate(report(tmp_path, Kind.FAILED))
    assert (one.fault, one.copies, one.bounced) == ("", (), 5.0)


def test_waiting_is_as_it_should_be():
    assert fate(waiting=Waiting(1, 5.0)).fault == ""


def test_a_delay_is_no_end(tmp_path):
    assert fate(report(tmp_path, Kind.DELAYED)).fault == "LOST"
    assert fate(report(tmp_path, Kind.DELAYED), waiting=Waiting(2, 5.0)).fault == ""


def test_a_report_that_returns_the_message_is_no_copy_of_it(tmp_path):
    assert not is_copy(report(tmp_path, Kind.FAILED).content, SCENE)


@pytest.mark.parametrize(
    ("arrived", "waiting", "fault"),
    [
        ((), None, "LOST"),
        ((COPY._replace(recipients=("cleo@good.test",)),), None, "LOST"),
        ((COPY._replace(content=COPY.content + b"\r\n"),), None, "DAMAGED"),
        ((COPY, COPY), None, "TWICE"),
        ((COPY,), Waiting(1, 5.0), "TWICE"),
    ],
)
def test_whatever_else_is_a_fault(arrived, waiting, fault):
    assert fate(*arrived, waiting=waiting).fault == fault

# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""A list is an alias with an owner: what is sent to it comes from the owner, who hears what goes wrong."""

import pytest

from mailspool.config.load import make
from mailspool.errors import PermanentError
from mailspool.spool import Spool
from tests.running import eventually

ALIASES = """\
staff: a@good.test, never@good.test
owner-staff: joe@good.test
friends: b@good.test
"""


@pytest.fixture
def spool(daemon, properties, sink, tmp_path):
    """Of a daemon that runs, and whose mail all goes to the sink."""
    (tmp_path / "aliases").write_text(ALIASES)
    options = {"aliases_file": str(tmp_path / "aliases")}
    daemon(sink=sink, **options)
    return Spool(make(**properties(sink=sink, **options)))


def came(sink):
    """(sender, recipients) of each transaction that the sink took, in no order."""
    return sorted((mail.sender, tuple(sorted(mail.recipients))) for mail in list(sink.mails))


def send(spool, delivery="Deferred", sender="me@home.test"):
    to = ["staff", "friends", "c@good.test"]
    return spool.send_mail(to=to, from_=sender, message="Subject: x\n\nx\n", delivery=delivery)


def test_what_goes_to_a_list_comes_from_its_owner_who_hears_what_failed(spool, sink):
    send(spool)
    expected = [("", ("joe@good.test",)), ("joe@good.test", ("a@good.test",))]
    expected += [("me@home.test", ("b@good.test", "c@good.test"))]
    eventually(lambda: came(sink) == expected, what="both parts and the report")
    eventually(lambda: not list(spool.store.locations()), what="an empty spool")


def test_what_is_delivered_at_once_comes_from_the_owner_too(spool, sink):
    with pytest.raises(PermanentError, match=r"never@good\.test"):
        send(spool, "Interactive")
    assert came(sink) == [("joe@good.test", ("a@good.test",)), ("me@home.test", ("b@good.test", "c@good.test"))]


def test_what_has_no_sender_gets_none(spool, sink):
    send(spool, sender="")
    to = ["a@good.test", "b@good.test", "c@good.test"]
    eventually(lambda: sorted(each for _, some in came(sink) for each in some) == to, what="the message")
    assert {sender for sender, _ in came(sink)} == {""}

# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Mail goes by MX to Postfix and Exim, and what they store is what was handed in, octet for octet."""

import base64
import random
import smtplib

import pytest

from mailspool.model.envelope import Envelope, Recipient, Survey
from mailspool.model.outcome import Delivered
from mailspool.model.timeouts import Timeouts
from mailspool.smtp.session import Session
from mailspool.spool import Spool
from mailspool.tls.policy import NO_TLS
from tests.running import eventually

HEADER = (
    b"From: Alice <box-alice@exim.peers.test>\n"
    b"To: undisclosed-recipients:;\n"
    b"Date: Sun, 22 Nov 2026 12:00:00 +0000\n"
    b"Message-ID: <%s@caller.test>\n"
    b"Subject: %s\n\n"
)
ATTACHMENT = base64.encodebytes(random.Random(7).randbytes(1_000_000))

BODIES = {
    "plain": b"Hello\n",
    "empty": b"",
    "dots": b".\n..\n.leading\n...\ntrailing.\n.\r\n.\n",
    "only-dot": b".\n",
    "dot-at-the-end": b"x\n.",
    "8-bit": "Grüße, Καλημέρα, 今日は\n".encode() + bytes(range(128, 256)) + b"\n",
    "long-lines": b"x" * 990 + b"\n" + b"y" * 5000 + b"\n." + b"z" * 70000 + b"\n",
    "no-final-newline": b"the last line",
    "crlf": b"one\r\ntwo\r\n\r\n",
    "trailing-empty-lines": b"end\n\n\n\n",
    "tabs-and-spaces": b" \n\t\n  x  \n",
    "like-a-command": b"QUIT\r\nRSET\nFrom the first\n>From the second\nFrom: x\n",
    "attachment": ATTACHMENT,
}


def make(name, body, subject=b"as it is"):
    return HEADER % (name.encode(), subject) + body


def crlf(text):
    """The canonical form, the last line's end included."""
    lines = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return (lines if lines.endswith(b"\n") else lines + b"\n").replace(b"\n", b"\r\n")


@pytest.mark.parametrize("peer", ["postfix", "exim"])
@pytest.mark.parametrize("body", BODIES)
def test_what_a_peer_stores_is_what_was_handed_in(peer, body, peers, sendmail):
    text = make(body, BODIES[body])
    box = f"box-{body}@{peer}.peers.test"
    sendmail("-i", "-f", "box-alice@exim.peers.test", box, text=text)
    (stored,) = peers[peer].mail_for(box)
    assert stored.handed_in == crlf(text)
    assert stored.sender == "box-alice@exim.peers.test"


@pytest.mark.parametrize("peer", ["postfix", "exim"])
def test_bare_cr_and_lf_become_line_ends_and_never_commands(peer, peers, sendmail):
    text = make("bare", b"one\rtwo\nthree\r\n\rfour\r\r\n.\r.\nfive\n\r.\r\nMAIL FROM:<x@y.test>\r\n")
    box = f"box-bare@{peer}.peers.test"
    sendmail("-i", "-f", "box-alice@exim.peers.test", box, text=text)
    (stored,) = peers[peer].mail_for(box)
    assert stored.handed_in == crlf(text)


@pytest.mark.parametrize("peer", ["postfix", "exim"])
def test_utf8_in_header_and_address_arrives_as_it_is(peer, peers, sendmail):
    text = make("utf8", "Grüße\n".encode(), "Grüße aus Köln — Καλημέρα".encode())
    box = f"box-δοκιμή@{peer}.peers.test"
    sendmail("-i", "-f", "box-alice@exim.peers.test", box, text=text)
    (stored,) = peers[peer].mail_for(box)
    assert stored.handed_in == crlf(text)
    assert {"postfix": b"with UTF8SMTPS", "exim": b"with utf8esmtps"}[peer] in stored.added_by_peer


@pytest.mark.parametrize("peer", ["postfix", "exim"])
def test_a_long_folded_header_is_not_folded_anew(peer, peers, sendmail):
    lines = b"".join(b"\tfold %d  with  spaces \n" % i for i in range(500))
    text = b"X-Long: begins\n" + lines + b"X-Empty:\nX-One-Line: " + b"w " * 450 + b"\n" + make("folded", b"body\n")
    box = f"box-folded@{peer}.peers.test"
    sendmail("-i", "-f", "box-alice@exim.peers.test", box, text=text)
    (stored,) = peers[peer].mail_for(box)
    assert stored.handed_in == crlf(text)


@pytest.mark.parametrize("peer", ["postfix", "exim"])
@pytest.mark.parametrize("dots", [b"", b".\n..\n.x\n"], ids=["no dots", "dots"])
def test_ten_megabytes_arrive_octet_for_octet(peer, dots, peers, sendmail):
    text = make("large", base64.encodebytes(random.Random(8).randbytes(7_200_000)) + dots + b"the end\n")
    box = f"box-large{len(dots)}@{peer}.peers.test"
    sendmail("-i", "-f", "box-alice@exim.peers.test", box, text=text)
    (stored,) = peers[peer].mail_for(box)
    assert stored.handed_in == crlf(text)


@pytest.mark.parametrize("peer", ["postfix", "exim"])
def test_in_clear_a_message_goes_from_its_file_to_the_peer_octet_for_octet(peer, peers, tmp_path):
    """The daemon speaks TLS with both, which cannot be written to from a file."""
    text = crlf(make("clear", base64.encodebytes(random.Random(9).randbytes(2_000_000)) + b".\n..\nend\n"))
    (tmp_path / "message").write_bytes(b"Received: by us (mailspool)\r\n" + text)
    survey = Survey([(tmp_path / "message").read_bytes()])
    assert list(survey)
    box = Recipient(f"box-clear@{peer}.peers.test")
    envelope = Envelope("id1", "box-alice@exim.peers.test", (box,), 0.0, facts=survey.facts())
    address, port = peers[peer].address, peers[peer].port
    session = Session.open(address, port, peer, "sender.peers.test", timeouts=Timeouts(), tls=NO_TLS)
    with (tmp_path / "message").open("rb") as file:
        assert isinstance(session.send(envelope, [box], file)[0], Delivered)
    session.quit()
    (stored,) = peers[peer].mail_for(box.address)
    assert stored.handed_in == text


def test_the_peers_log_that_messages_come_in_chunks(peers, sendmail):
    for peer, of_chunks in (("postfix", " bdat="), ("exim", " K ")):
        box = f"box-chunked@{peer}.peers.test"
        sendmail("-i", "-f", "box-alice@exim.peers.test", box, text=make("chunked", b"to you\n"))
        peers[peer].mail_for(box)
        eventually(lambda log=peers[peer], word=of_chunks: word in log.log, what=f"{of_chunks!r} in the log of {peer}")


@pytest.mark.parametrize("peer", ["postfix", "exim"])
def test_refused_recipients_in_a_burst_cost_the_others_nothing(peer, peers, daemon):
    spool = Spool.from_config(str(daemon.config))
    box, nobody = f"box-among@{peer}.peers.test", f"nobody@{peer}.peers.test"
    sender = f"box-among-sender@{'exim' if peer == 'postfix' else 'postfix'}.peers.test"
    for number in range(40):
        to = nobody if number % 3 == 1 else box
        spool.send_mail(to=to, from_=sender, message=f"Subject: {number}\nTo: all\n\n.{number}\n")
    stored = peers[peer].mail_for(box, count=27)
    assert sorted(int(each.message["Subject"]) for each in stored) == [n for n in range(40) if n % 3 != 1]
    bounces = peers[sender.partition("@")[2].partition(".")[0]].mail_for(sender, count=13)
    assert [bounce.sender for bounce in bounces] == [""] * 13


def test_each_recipient_at_each_peer_gets_one_copy(peers, sendmail):
    boxes = {peer: [f"box-many{number}@{peer}.peers.test" for number in range(5)] for peer in peers}
    text = make("many", b"to ten\n")
    sendmail("-i", "-f", "box-alice@exim.peers.test", *boxes["postfix"], *boxes["exim"], text=text)
    for peer, addresses in boxes.items():
        for address in addresses:
            assert [stored.handed_in for stored in peers[peer].mail_for(address)] == [crlf(text)]


@pytest.mark.parametrize("peer", ["postfix", "exim"])
def test_a_session_is_encrypted_where_the_peer_offers_it(peer, peers, sendmail):
    box = f"box-tls@{peer}.peers.test"
    sendmail("-i", "-f", "box-alice@exim.peers.test", box, text=make("tls", b"secret\n"))
    (stored,) = peers[peer].mail_for(box)
    assert {"postfix": b"(using TLSv1.3 with cipher", "exim": b"with esmtps  (TLS1.3)"}[peer] in stored.added_by_peer


def test_the_peers_offer_what_the_other_tests_rely_on(peers):
    for name, peer in peers.items():
        with smtplib.SMTP(peer.address, peer.port, "caller.test") as session:
            session.ehlo()
            offered = set(session.esmtp_features)
        assert offered >= {"size", "8bitmime", "pipelining", "starttls", "chunking", "dsn", "smtputf8"}, name


@pytest.mark.parametrize(
    ("domain", "peer"),
    [
        pytest.param("failover", "postfix", id="the best MX refuses connections, the second takes it"),
        pytest.param("implicit", "exim", id="no MX, so the address itself (RFC 5321 section 5.1)"),
        pytest.param("alias", "exim", id="a CNAME to a domain with MX"),
    ],
)
def test_the_mx_records_lead_to_the_peer(domain, peer, peers, sendmail):
    box = f"box-{domain}@{domain}.peers.test"
    sendmail("-i", "-f", "box-alice@exim.peers.test", box, text=make(domain, b"found\n"))
    (stored,) = peers[peer].mail_for(box)
    assert stored.handed_in == crlf(make(domain, b"found\n"))


def test_of_equal_mx_hosts_one_takes_it(peers, sendmail):
    boxes = [f"box-equal{number}@equal.peers.test" for number in range(6)]
    for box in boxes:
        sendmail("-i", "-f", "box-alice@exim.peers.test", box, text=make("equal", b"to one of two\n"))
    everything = lambda: [stored.recipient for peer in peers.values() for stored in peer.stored]  # noqa: E731
    eventually(lambda: set(boxes) <= set(everything()), what="mail at either")
    assert [everything().count(box) for box in boxes] == [1] * 6


def test_a_burst_of_mail_arrives_complete_and_each_message_once(peers, daemon):
    spool = Spool.from_config(str(daemon.config))
    numbers = [str(number) for number in range(100)]
    boxes = {peer: f"box-burst@{peer}.peers.test" for peer in peers}
    for number in numbers:
        spool.send_mail(to=list(boxes.values()), from_="", message=f"Subject: {number}\nTo: all\n\n{number}\n")
    for peer, box in boxes.items():
        stored = peers[peer].mail_for(box, count=len(numbers))
        assert sorted(each.message["Subject"] for each in stored) == sorted(numbers)

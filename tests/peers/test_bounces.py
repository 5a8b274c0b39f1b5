# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What a peer refuses, or nobody takes, comes back to its sender at the other peer as a report (RFC 3464)."""

import pytest

TEXT = b"From: %s\nTo: %s\nDate: Sun, 22 Nov 2026 12:00:00 +0000\nMessage-ID: <1@caller.test>\nSubject: x\n\n.body\n"


@pytest.fixture
def bounce_of(peers, sendmail):
    """bounce_of(recipients, sender, text): the one report that the sender gets."""

    def send(*recipients, sender, text=b""):
        text = text or TEXT % (sender.encode(), recipients[0].encode())
        sendmail("-i", "-f", sender, *recipients, text=text)
        (stored,) = peers[sender.partition("@")[2].partition(".")[0]].mail_for(sender)
        assert stored.sender == ""  # or reports could beget reports
        return stored

    return send


def parts(bounce):
    """For humans, per message, one block per recipient, the original. Fails where it is no report (RFC 6522)."""
    message = bounce.message
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    assert not any(part.defects for part in message.walk())
    human, status, original = message.iter_parts()
    assert human.get_content_type() == "text/plain"
    assert status.get_content_type() == "message/delivery-status"
    per_message, *cases = status.get_payload()
    return human.get_content(), per_message, cases, original


@pytest.mark.parametrize(
    ("at", "sender_at", "status", "said"),
    [
        ("postfix", "exim", "5.1.1", "smtp; 550 5.1.1 <nobody@postfix.peers.test>: Recipient address rejected"),
        ("exim", "postfix", "5.0.0", "smtp; 550 Unknown user"),
    ],
    ids=["Postfix", "Exim"],
)
def test_an_unknown_user_at_one_peer_is_reported_to_the_sender_at_the_other(at, sender_at, status, said, bounce_of):
    bounce = bounce_of(f"nobody@{at}.peers.test", sender=f"box-from-{at}@{sender_at}.peers.test")
    human, per_message, (case,), original = parts(bounce)
    assert f"nobody@{at}.peers.test" in human
    assert per_message["Reporting-MTA"] == "dns; sender.peers.test"
    assert case["Final-Recipient"] == f"rfc822; nobody@{at}.peers.test"
    assert (case["Action"], case["Status"]) == ("failed", status)
    assert case["Remote-MTA"] == f"dns; mx.{at}.peers.test"
    assert case["Diagnostic-Code"].startswith(said)
    assert original.get_content_type() == "message/rfc822"
    assert bounce.message["Auto-Submitted"] == "auto-replied"
    assert bounce.message["In-Reply-To"] == "<1@caller.test>"


def test_a_report_returns_the_message_octet_for_octet(bounce_of):
    sender, recipient = "box-whole@exim.peers.test", "nobody@postfix.peers.test"
    text = (
        TEXT % (sender.encode(), recipient.encode()) + b".\n..\nFrom here\n\xff\xfe 8bit\n--=_\n" + b"x" * 5000 + b"\n"
    )
    bounce = bounce_of(recipient, sender=sender, text=text)
    assert text.replace(b"\n", b"\r\n") in bounce.handed_on


def test_who_is_known_gets_the_mail_and_only_the_others_are_reported(bounce_of, peers):
    known = ["box-known@postfix.peers.test", "box-known@exim.peers.test"]
    unknown = ["nobody1@postfix.peers.test", "nobody2@postfix.peers.test"]
    bounce = bounce_of(*unknown, *known, sender="box-some@exim.peers.test")
    _, _, cases, _ = parts(bounce)
    assert [case["Final-Recipient"] for case in cases] == [f"rfc822; {address}" for address in unknown]
    for address in known:
        assert len(peers[address.partition("@")[2].partition(".")[0]].mail_for(address)) == 1


@pytest.mark.parametrize(
    ("recipient", "status"),
    [
        pytest.param("joe@null.peers.test", "5.1.10", id="null MX (RFC 7505)"),
        pytest.param("joe@nowhere.peers.test", "5.1.2", id="NXDOMAIN"),
    ],
)
def test_what_dns_rules_out_bounces_at_once(recipient, status, bounce_of):
    bounce = bounce_of(recipient, sender=f"box-dns-{status}@postfix.peers.test")
    _, _, (case,), _ = parts(bounce)
    assert (case["Action"], case["Status"], case["Remote-MTA"]) == ("failed", status, None)


def test_a_message_larger_than_the_peer_takes_bounces_with_its_header_only(bounce_of):
    sender, recipient = "box-big@exim.peers.test", "box-too-big@postfix.peers.test"
    text = TEXT % (sender.encode(), recipient.encode()) + (b"x" * 76 + b"\n") * 170_000
    bounce = bounce_of(recipient, sender=sender, text=text)
    _, _, (case,), original = parts(bounce)
    assert case["Status"] == "5.3.4"
    assert original.get_content_type() == "text/rfc822-headers"
    assert len(bounce.text) < 10_000


def test_a_report_on_a_utf8_address_is_internationalised(bounce_of):
    bounce = bounce_of("ναι@postfix.peers.test", sender="box-öhm@exim.peers.test")
    _, status, original = bounce.message.iter_parts()
    assert status.get_content_type() == "message/global-delivery-status"  # RFC 6533
    assert "Final-Recipient: utf-8; ναι@postfix.peers.test\r\n".encode() in bounce.handed_on
    assert original.get_content_type() in ("message/global", "message/rfc822")


def test_what_the_sender_wants_to_know_is_passed_on_to_a_peer_that_can_tell(sendmail, peers):
    sender, recipient = "box-dsn@postfix.peers.test", "box-success@postfix.peers.test"
    text = TEXT % (sender.encode(), recipient.encode())
    sendmail("-i", "-f", sender, "-N", "success", "-R", "hdrs", "-V", "order+2B17", recipient, text=text)
    (report,) = peers["postfix"].mail_for(sender)
    _, per_message, (case,), original = parts(report)
    assert per_message["Reporting-MTA"] == "dns; mx.postfix.peers.test"
    assert per_message["Original-Envelope-Id"] == "order+17"
    assert case["Action"] == "delivered"
    assert original.get_content_type() == "text/rfc822-headers"


def test_who_wants_no_report_gets_none(sendmail, bounce_of):
    sender = "box-never@exim.peers.test"
    sendmail("-i", "-f", sender, "-N", "never", "nobody1@postfix.peers.test", text=b"Subject: x\n\n")
    _, _, (case,), _ = parts(bounce_of("nobody2@postfix.peers.test", sender=sender))
    assert case["Final-Recipient"] == "rfc822; nobody2@postfix.peers.test"

# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Who hears of what."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailspool.dsn.notify import Kind, Notify, Quarantine, Silence, whom_to_tell
from mailspool.model.envelope import Recipient

SENDER, POSTMASTER, TO = "joe@example.com", "postmaster@example.com", "ann@example.org"
WISHES = [(), ("NEVER",), ("SUCCESS",), ("FAILURE",), ("DELAY",), ("FAILURE", "DELAY"), ("SUCCESS", "FAILURE", "DELAY")]


@pytest.mark.parametrize(
    ("notify", "told_of"),
    [
        ((), {Kind.FAILED, Kind.DELAYED}),
        (("NEVER",), set()),
        (("SUCCESS",), {Kind.RELAYED}),
        (("FAILURE",), {Kind.FAILED}),
        (("DELAY",), {Kind.DELAYED}),
        (("SUCCESS", "FAILURE", "DELAY"), set(Kind)),
    ],
)
def test_the_sender_hears_exactly_what_was_asked_for(notify, told_of):
    for kind in Kind:
        verdict = whom_to_tell(kind, SENDER, Recipient(TO, notify), POSTMASTER)
        assert verdict == (Notify(SENDER) if kind in told_of else Silence())


def test_a_bounce_that_fails_goes_to_the_postmaster():
    assert whom_to_tell(Kind.FAILED, "", Recipient(TO), POSTMASTER) == Notify(POSTMASTER)


def test_a_bounce_that_is_merely_late_is_nobodys_business():
    assert whom_to_tell(Kind.DELAYED, "", Recipient(TO), POSTMASTER) == Silence()


@pytest.mark.parametrize("address", [POSTMASTER, "Postmaster@example.com"])
def test_a_report_that_cannot_reach_the_postmaster_goes_to_quarantine(address):
    verdict = whom_to_tell(Kind.FAILED, "", Recipient(address), POSTMASTER)
    assert isinstance(verdict, Quarantine)
    assert verdict.reason


def test_without_a_postmaster_a_bounce_that_fails_goes_to_quarantine():
    assert isinstance(whom_to_tell(Kind.FAILED, "", Recipient(TO), ""), Quarantine)


def test_mail_from_the_postmaster_to_the_postmaster_is_reported_like_any_other():
    assert whom_to_tell(Kind.FAILED, POSTMASTER, Recipient(POSTMASTER), POSTMASTER) == Notify(POSTMASTER)


addresses = st.sampled_from([SENDER, POSTMASTER, TO, "POSTMASTER@example.com"])


@given(sender=addresses | st.just(""), to=addresses, wishes=st.sampled_from(WISHES), postmaster=addresses | st.just(""))
def test_if_every_report_failed_too_the_chain_would_end_after_two(sender, to, wishes, postmaster):
    verdict = whom_to_tell(Kind.FAILED, sender, Recipient(to, wishes), postmaster)
    reports = 0
    while isinstance(verdict, Notify):
        reports += 1
        assert reports <= 2
        verdict = whom_to_tell(Kind.FAILED, "", Recipient(verdict.to), postmaster)
    assert reports == 0 or isinstance(verdict, Quarantine)


@given(kind=st.sampled_from(Kind), sender=addresses | st.just(""), to=addresses, wishes=st.sampled_from(WISHES))
def test_nobody_is_told_at_the_null_sender(kind, sender, to, wishes):
    assert whom_to_tell(kind, sender, Recipient(to, wishes), POSTMASTER) != Notify("")

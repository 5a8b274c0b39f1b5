# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What hosts say when they want less, or later; all of it was said by real ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailspool.model.hint import GREYLISTED, LONGEST, SHORTEST, Hint, Kind, parse_hint


@pytest.mark.parametrize(
    ("text", "kind", "seconds"),
    [
        (
            "450 4.7.1 <a@x.example>: Recipient address rejected: Greylisted, see http://h.example/x",
            "greylisted",
            GREYLISTED,
        ),
        ("450 4.2.0 <a@x.example>: Recipient address rejected: Greylisted for 300 seconds", "greylisted", 300.0),
        ("451 4.7.1 Greylisting in action, please come back in 00:04:58", "greylisted", 298.0),
        ("451 4.7.1 Greylisting in action, please come back later", "greylisted", GREYLISTED),
        ("451 4.7.1 Try again later", "greylisted", GREYLISTED),
        ("451 4.7.1 Please try again later (greylisted)", "greylisted", GREYLISTED),
        ("450 Graylisted; try again in 5 minutes", "greylisted", 300.0),
        ("421 4.7.0 mx.x.example Error: too many connections from 192.0.2.1", "slower", 0.0),
        ("450 4.7.1 Error: too much mail from 192.0.2.1", "slower", 0.0),
        ("452 4.3.2 Too many concurrent SMTP connections; please try again later.", "slower", 0.0),
        ("421 4.4.5 Server busy, try again in 90 seconds", "slower", 90.0),
        ("421 4.4.5 Server busy", "slower", 0.0),
        ("450 4.2.1 The user you are trying to contact is receiving mail at a rate that prevents", "slower", 0.0),
        ("421 4.7.28 Our system has detected an unusual rate of unsolicited mail", "slower", 0.0),
        ("451 4.7.500 Server busy. Please try again later from [192.0.2.1]. (S77719)", None, 0.0),
        ("451 4.7.651 The mail server has been temporarily rate limited due to IP reputation", "slower", 0.0),
        ("421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to user complaints", "slower", 0.0),
        ("450 4.7.1 Message rate limit exceeded, retry after 2 minutes", "slower", 120.0),
        ("450 4.2.2 Mailbox full, please retry in 2 hours", "later", LONGEST),
        ("450 4.2.1 Mailbox busy, retry in 1 s", "later", SHORTEST),
        ("450 4.2.1 Mailbox is busy", None, 0.0),
        ("421 4.3.2 Service shutting down", None, 0.0),
        ("452 4.5.3 Too many recipients", None, 0.0),
        ("451 4.3.0 100 messages in 60 seconds", None, 0.0),
        ("550 5.7.1 Greylisted for 300 seconds", None, 0.0),
        ("250 2.0.0 too many messages", None, 0.0),
        ("mx.x.example[192.0.2.1]:25 timed out after 20 s in DATA", None, 0.0),
        ("450.example[192.0.2.1]:25 timed out, retry after 20 s", None, 0.0),
        ("450", None, 0.0),
        ("", None, 0.0),
    ],
)
def test_what_hosts_ask_for(text, kind, seconds):
    assert parse_hint(text) == (Hint(Kind(kind), seconds) if kind else None)


@given(
    st.sampled_from(["421", "450", "451", "452"]),
    st.sampled_from(["", "4.7.0 ", "4.7.1 ", "4.2.1 ", "4.3.2 "]),
    st.sampled_from(
        ["try again in", "Retry after", "please wait", "greylisted for", "come back in", "try again after"]
    ),
    st.integers(0, 99999),
    st.sampled_from([("s", 1), ("seconds", 1), ("sec", 1), ("minutes", 60), ("min", 60), ("hours", 3600)]),
)
def test_whatever_time_is_named_is_kept_within_bounds(code, status, words, number, unit):
    hint = parse_hint(f"{code} {status}{words} {number} {unit[0]}")
    asked = number * unit[1]
    if not asked:
        assert hint is None or hint.seconds in (0.0, GREYLISTED)
    else:
        assert hint.seconds == min(max(asked, SHORTEST), LONGEST)


@given(st.text(max_size=1100), st.sampled_from(["", "450 ", "421 4.7.0 ", "450 4.7.1 too many ", "450 retry "]))
def test_no_text_is_too_wild(text, before):
    hint = parse_hint(before + text)
    assert hint is None or hint.seconds == 0.0 or SHORTEST <= hint.seconds <= LONGEST


@pytest.mark.parametrize("word", ["too many ", "limit a ", "exceed ", "try again ", "0" * 7, "retry", "grey"])
def test_a_long_reply_is_read_in_no_time(word):
    parse_hint("450 4.7.1 " + (word * 1024)[:1024])

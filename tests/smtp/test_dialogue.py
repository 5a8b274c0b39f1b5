# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
import base64
import io
from itertools import takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailspool.errors import LoginFailed, PermanentError, TransientError, Unreadable
from mailspool.model.credentials import Credentials
from mailspool.model.envelope import Envelope, Facts, Recipient
from mailspool.model.outcome import Deferred, Delivered, Failed
from mailspool.model.phase import Phase
from mailspool.smtp.dialogue import Dialogue
from mailspool.smtp.extensions import Extensions
from mailspool.smtp.letter import Letter
from mailspool.smtp.reply import Reply
from mailspool.smtp.steps import Say, Secure, SendContent, Whisper
from mailspool.smtp.transaction import WINDOW, Transaction
from mailspool.tls.policy import TlsLevel, TlsPolicy

HOST = "mx.example.org[192.0.2.1]:25"
NONE, MAY, ENCRYPT = (TlsPolicy(TlsLevel(word)) for word in ("none", "may", "encrypt"))
LOST = TransientError("4.4.2", "", "connection lost")


def reply(line):
    """ "250-a|b" is a reply of two lines."""
    return Reply(int(line[:3]), tuple(line[4:].split("|")))


def play(talk, *answers):
    """Give the answers, one to each step. Returns all steps, and the result or the DeliveryError."""
    steps = []
    try:
        steps.append(next(talk))
        for answer in answers:
            steps.append(talk.throw(answer) if isinstance(answer, Exception) else talk.send([reply(answer)]))
    except StopIteration as end:
        assert len(steps) == len(answers), "the talk ended early"
        return steps, end.value
    except (TransientError, PermanentError) as error:
        return steps, error
    raise AssertionError(f"the talk goes on with {steps[-1]}")


def said(steps):
    return [line for step in steps if not isinstance(step, SendContent) for line in step.octets.decode().splitlines()]


def greet(tls, *answers):
    dialogue = Dialogue(HOST, "client.example.net")
    steps, result = play(dialogue.greet(tls), *answers)
    return dialogue, steps, result


def ready(**extensions):
    dialogue = Dialogue(HOST, "client.example.net")
    dialogue.extensions = Extensions(**extensions)
    return dialogue


def envelope_for(*addresses, sender="joe@example.net", **facts):
    recipients = tuple(Recipient(address) for address in addresses or ("ann@example.org",))
    return Envelope("id1", sender, recipients, 0.0, facts=Facts(**facts))


def send(dialogue, envelope, *answers):
    return play(talk_about(envelope, dialogue), *answers)


def talk_about(envelope, dialogue):
    file = io.BytesIO(b"x" * (envelope.facts.size - 2) + b"\r\n")
    return Transaction(dialogue, Letter(envelope, envelope.recipients, file)).talk()


def kinds(outcomes):
    return [type(outcome) for outcome in outcomes]


# --- opening


def test_a_peer_is_greeted_with_ehlo():
    dialogue, steps, result = greet(NONE, "220 mx.example.org", "250 mx.example.org|PIPELINING|SIZE 99")
    assert steps == [Say((Phase.GREETING,)), Say((Phase.EHLO,), b"EHLO client.example.net\r\n")]
    assert result is None
    assert dialogue.extensions == Extensions(pipelining=True, size=99)


@pytest.mark.parametrize("code", ["500", "502", "550"])
def test_a_peer_that_does_not_know_ehlo_gets_helo(code):
    dialogue, steps, _ = greet(MAY, "220 mx.example.org", f"{code} what?", "250 mx.example.org")
    assert said(steps) == ["EHLO client.example.net", "HELO client.example.net"]
    assert dialogue.extensions == Extensions()


@pytest.mark.parametrize(
    ("answers", "kind", "status"),
    [
        (["554 5.7.1 go away"], PermanentError, "5.7.1"),
        (["450 4.3.2 busy"], TransientError, "4.3.2"),
        (["421 later"], TransientError, "4.0.0"),
        (["354 go on"], TransientError, "4.5.0"),
        (["220 mx", "421 later"], TransientError, "4.0.0"),
        (["220 mx", "451 4.3.0 no"], TransientError, "4.3.0"),
        (["220 mx", "500 what", "550 5.7.1 no"], PermanentError, "5.7.1"),
        (["220 mx", LOST], TransientError, "4.4.2"),
    ],
)
def test_a_refusal_while_opening_is_raised_as_what_it_is(answers, kind, status):
    _, _, error = greet(NONE, *answers)
    assert isinstance(error, kind)
    assert error.status == status


@pytest.mark.parametrize(
    "answers",
    [
        ["220 Client.Example.NET ESMTP", "250 mx"],
        ["220 mx", "250 client.example.net at your service|PIPELINING"],
        ["220 mx", "500 what", "250 client.example.net"],
    ],
)
def test_what_a_peer_calls_itself_is_noted(answers):
    dialogue, _, _ = greet(NONE, *answers)
    assert "client.example.net" in dialogue.names


# --- AUTH

JOE = Credentials(user="joe", password="tanstaaf")
PLAIN, USER, PASSWORD = "AGpvZQB0YW5zdGFhZg==", "am9l", "dGFuc3RhYWY="


def log_in(*answers, credentials=JOE, tls=NONE):
    dialogue = Dialogue(HOST, "client.example.net", credentials=credentials)
    return play(dialogue.greet(tls), "220 mx", *answers)


def test_plain_is_said_with_the_command():
    steps, result = log_in("250 mx|AUTH PLAIN LOGIN", "235 2.7.0 welcome")
    assert result is None
    assert said(steps)[1:] == [f"AUTH PLAIN {PLAIN}"]


def test_plain_waits_for_the_challenge_where_the_line_would_be_too_long():
    steps, result = log_in(
        "250 mx|AUTH PLAIN", "334 ", "235 welcome", credentials=Credentials(user="u" * 300, password="p" * 100)
    )
    assert result is None
    assert said(steps)[1] == "AUTH PLAIN"
    assert len(said(steps)[2]) > 500


def test_login_says_user_and_password_as_it_is_asked():
    steps, result = log_in("250 mx|AUTH LOGIN", "334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6", "235 welcome")
    assert result is None
    assert said(steps)[1:] == ["AUTH LOGIN", USER, PASSWORD]


def test_cram_md5_comes_before_all_others_and_answers_the_challenge():
    steps, result = log_in("250 mx|AUTH PLAIN LOGIN CRAM-MD5", "334 PDE+", "235 welcome")
    assert result is None
    assert said(steps)[1] == "AUTH CRAM-MD5"
    assert base64.b64decode(said(steps)[2]).startswith(b"joe ")


@pytest.mark.parametrize("code", ["432", "501", "504", "534", "538"])
def test_a_mechanism_that_is_refused_is_followed_by_the_next(code):
    steps, result = log_in("250 mx|AUTH PLAIN CRAM-MD5", f"{code} not that one", "235 welcome")
    assert result is None
    assert said(steps)[1:] == ["AUTH CRAM-MD5", f"AUTH PLAIN {PLAIN}"]


@pytest.mark.parametrize("code", ["500", "530", "535", "550", "554"])
def test_credentials_that_are_refused_are_not_tried_again_and_are_a_fault_of_ours(code):
    steps, error = log_in("250 mx|AUTH PLAIN LOGIN", f"{code} 5.7.8 no")
    assert (type(error), error.status, error.host) == (LoginFailed, "4.7.8", "")
    assert error.text == f"no login at {HOST}: AUTH PLAIN was refused: {code} 5.7.8 no"
    assert len(said(steps)) == 2


@pytest.mark.parametrize("answers", [["250 mx"], ["250 mx|AUTH GSSAPI"], ["500 what", "250 mx"]])
def test_a_peer_without_auth_that_we_know_is_sent_no_mail_without(answers):
    _, error = log_in(*answers)
    assert (type(error), error.status) == (LoginFailed, "4.7.8")
    assert "offers no AUTH" in error.text


def test_a_login_that_fails_for_now_is_the_hosts_trouble():
    _, error = log_in("250 mx|AUTH PLAIN", "454 4.7.0 data base is down")
    assert (type(error), error.status) == (TransientError, "4.7.0")


@pytest.mark.parametrize("challenge", ["334 no base64", "334-PDE+|PDI+", "334 " + "Zm9v" * 5])
def test_a_challenge_that_cannot_be_answered_is_cancelled(challenge):
    offered = "250 mx|AUTH " + ("PLAIN" if "Zm9v" in challenge else "CRAM-MD5")
    steps, error = log_in(offered, challenge.replace("334-", "334 "), "501 cancelled")
    assert said(steps)[-1] == "*"
    assert (type(error), error.status) == (LoginFailed, "4.7.8")


def test_a_peer_that_goes_on_after_the_cancellation_is_no_peer():
    _, error = log_in("250 mx|AUTH CRAM-MD5", "334 !", "334 PDE+")
    assert (type(error), error.status) == (TransientError, "4.5.0")


def test_without_credentials_nobody_logs_in():
    steps, _ = log_in("250 mx|AUTH PLAIN", credentials=None)
    assert len(steps) == 2


def test_the_password_is_not_said_before_tls():
    answers = ["250 mx|STARTTLS|AUTH PLAIN", "220 go", "250 mx|AUTH PLAIN", "235 welcome"]
    steps, result = log_in(*answers, tls=ENCRYPT)
    assert result is None
    assert isinstance(steps[3], Secure)
    assert isinstance(steps[4], Whisper)
    steps, error = log_in("250 mx|AUTH PLAIN", tls=ENCRYPT)
    assert error.status == "4.7.5"
    assert not [step for step in steps if isinstance(step, Whisper)]


@pytest.mark.parametrize(
    "answers",
    [
        ["250 mx|AUTH PLAIN", "235 welcome"],
        ["250 mx|AUTH LOGIN", "334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6", "235 welcome"],
    ],
)
def test_no_step_shows_what_is_whispered(answers):
    steps, _ = log_in(*answers)
    shown = "".join(repr(step) + (step.shown.decode() if isinstance(step, Whisper) else "") for step in steps)
    assert not [secret for secret in (PLAIN, USER, PASSWORD, "tanstaaf") if secret in shown]
    assert "***" in shown


# a peer may say anything at any point of a login
@given(
    st.lists(st.sampled_from(["CRAM-MD5", "PLAIN", "LOGIN", "XOAUTH2"]), unique=True),
    st.lists(
        st.sampled_from(["334 ", "334 PDE+", "334 ?", "235 ok", "250 ok", "421 bye", "454 no", "501 no", "535 no"])
    ),
)
def test_whatever_a_peer_answers_a_login_ends_as_success_or_as_transient(mechanisms, answers):
    talk = Dialogue(HOST, "client.example.net", credentials=JOE).greet(NONE)
    next(talk)
    talk.send([reply("220 mx")])
    try:
        talk.send([reply(f"250 mx|AUTH {' '.join(mechanisms)}")])
        for answer in [*answers, *["421 bye"] * 9]:
            talk.send([reply(answer)])
    except StopIteration:
        assert any(answer[0] == "2" for answer in answers)
    except TransientError:
        pass
    else:
        raise AssertionError("it goes on for ever")


# --- implicit TLS


def test_in_implicit_tls_the_handshake_comes_before_the_greeting_and_starttls_is_not_asked_for():
    tls = TlsPolicy(TlsLevel.VERIFY, wrap=True)
    _, steps, result = greet(tls, "220 mx", "250 mx|STARTTLS")
    assert result is None
    assert steps == [Secure((Phase.GREETING,)), Say((Phase.EHLO,), b"EHLO client.example.net\r\n")]


# --- STARTTLS


def test_after_the_handshake_ehlo_is_said_again_and_what_was_announced_in_clear_is_forgotten():
    dialogue, steps, _ = greet(MAY, "220 mx", "250 mx|STARTTLS|DSN|SIZE 9", "220 go", "250 mx|PIPELINING")
    assert steps[2:] == [Say((Phase.STARTTLS,), b"STARTTLS\r\n"), Secure((Phase.EHLO,), b"EHLO client.example.net\r\n")]
    assert dialogue.extensions == Extensions(pipelining=True)


def test_without_a_wish_for_tls_it_is_not_asked_for():
    _, steps, _ = greet(NONE, "220 mx", "250 mx|STARTTLS")
    assert "STARTTLS" not in said(steps)


@pytest.mark.parametrize("answers", [["250 mx"], ["250 mx|STARTTLS", "454 4.7.0 no"], ["250 mx|STARTTLS", "502 no"]])
def test_where_tls_may_be_a_peer_without_it_is_taken_in_clear(answers):
    dialogue, _, result = greet(MAY, "220 mx", *answers)
    assert result is None
    assert not dialogue.over


@pytest.mark.parametrize("answers", [["250 mx"], ["250 mx|STARTTLS", "454 4.7.0 no"], ["250 mx|STARTTLS", "502 no"]])
def test_where_tls_must_be_a_peer_without_it_is_tried_again_later(answers):
    _, _, error = greet(ENCRYPT, "220 mx", *answers)
    assert (type(error), error.status) == (TransientError, "4.7.5")


def test_a_421_to_starttls_ends_the_session_also_where_tls_only_may_be():
    _, _, error = greet(MAY, "220 mx", "250 mx|STARTTLS", "421 bye")
    assert type(error) is TransientError


# --- one message


def test_without_pipelining_each_command_waits_for_its_reply():
    steps, outcomes = send(ready(), envelope_for(size=5), "250 ok", "250 ok", "354 go", "250 2.6.0 queued as 1")
    assert [step.phases for step in steps] == [(Phase.MAIL,), (Phase.RCPT,), (Phase.DATA,), (Phase.FINAL,)]
    assert said(steps) == ["MAIL FROM:<joe@example.net>", "RCPT TO:<ann@example.org>", "DATA"]
    assert list(steps[-1].blocks) == [b"xxx\r\n.\r\n"]
    assert outcomes == [Delivered("2.6.0", HOST, "250 2.6.0 queued as 1", silent=True)]


def test_with_pipelining_all_commands_are_one_write():
    steps, outcomes = send(
        ready(pipelining=True), envelope_for("a@example.org", "b@example.org"), *["250 ok"] * 3, "354 go", "250 ok"
    )
    written = b"MAIL FROM:<joe@example.net>\r\nRCPT TO:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n"
    due = (Phase.MAIL, Phase.RCPT, Phase.RCPT, Phase.DATA)
    assert steps[:4] == [Say(due, written), Say(due[1:]), Say(due[2:]), Say(due[3:])]
    assert kinds(outcomes) == [Delivered, Delivered]


def test_the_null_sender_has_an_empty_path():
    steps, _ = send(ready(), envelope_for(sender=""), "550 no")
    assert said(steps) == ["MAIL FROM:<>"]


@pytest.mark.parametrize("pipelining", [False, True])
def test_each_recipient_is_settled_by_its_own_reply(pipelining):
    envelope = envelope_for(*(f"{name}@example.org" for name in "abc"))
    _, outcomes = send(
        ready(pipelining=pipelining),
        envelope,
        *["250 ok", "550 5.1.1 who?", "250 ok", "450 4.2.1 full", "354 go", "250 done"],
    )
    assert outcomes == [
        Failed("5.1.1", HOST, "550 5.1.1 who?"),
        Delivered("2.0.0", HOST, "250 done", silent=True),
        Deferred("4.2.1", HOST, "450 4.2.1 full", refused=False),
    ]


@pytest.mark.parametrize(
    ("answer", "kind"), [("451 4.3.0 later", Deferred), ("554 5.6.0 spam", Failed), ("250 ok", Delivered)]
)
def test_the_reply_to_the_final_dot_decides_for_all_accepted(answer, kind):
    envelope = envelope_for("a@example.org", "b@example.org")
    dialogue = ready()
    _, outcomes = send(dialogue, envelope, "250 ok", "250 ok", "250 ok", "354 go", answer)
    assert kinds(outcomes) == [kind, kind]
    assert not dialogue.over


@pytest.mark.parametrize("pipelining", [False, True])
@pytest.mark.parametrize(("answer", "kind"), [("550 5.7.1 no", Failed), ("451 later", Deferred)])
def test_a_refused_sender_settles_every_recipient(pipelining, answer, kind):
    envelope = envelope_for("a@example.org", "b@example.org")
    after = ["503 need MAIL", "503 need MAIL", "503 need RCPT"] if pipelining else []
    _, outcomes = send(ready(pipelining=pipelining), envelope, answer, *after)
    assert [(type(outcome), outcome.text) for outcome in outcomes] == [(kind, answer)] * 2


def test_without_pipelining_nobody_accepted_means_no_data():
    dialogue, envelope = ready(), envelope_for()
    steps, outcomes = send(dialogue, envelope, "250 ok", "550 no")
    assert "DATA" not in said(steps)
    assert kinds(outcomes) == [Failed]
    steps, _ = send(dialogue, envelope, "250 reset", "250 ok", "250 ok", "354 go", "250 ok")
    assert said(steps)[0] == "RSET"


def test_with_pipelining_nobody_accepted_and_data_granted_all_the_same_means_a_lone_dot():
    dialogue, envelope = ready(pipelining=True), envelope_for()
    steps, outcomes = send(dialogue, envelope, "250 ok", "550 5.1.1 no", "354 go", "250 took nothing")
    assert steps[-1] == Say((Phase.CONTENT,), b".\r\n")
    assert outcomes == [Failed("5.1.1", HOST, "550 5.1.1 no")]
    steps, _ = send(dialogue, envelope, "250 ok", "250 ok", "354 go", "250 ok")
    assert "RSET" not in said(steps)


def test_with_pipelining_nobody_accepted_and_data_refused_is_settled_by_the_recipients_reply():
    _, outcomes = send(ready(pipelining=True), envelope_for(), "250 ok", "450 4.2.0 no", "503 no recipients")
    assert outcomes == [Deferred("4.2.0", HOST, "450 4.2.0 no")]


def test_a_refused_data_settles_the_accepted():
    _, outcomes = send(ready(), envelope_for(), "250 ok", "250 ok", "451 4.3.0 disk")
    assert outcomes == [Deferred("4.3.0", HOST, "451 4.3.0 disk")]


def test_between_clean_transactions_there_is_no_rset():
    dialogue = ready(pipelining=True)
    for _ in range(3):
        steps, _ = send(dialogue, envelope_for(), "250 ok", "250 ok", "354 go", "250 ok")
        assert "RSET" not in said(steps)


def test_a_peer_that_refuses_rset_loses_the_session_and_not_the_mail():
    dialogue = ready()
    send(dialogue, envelope_for(), "250 ok", "550 no")
    _, outcomes = send(dialogue, envelope_for(), "502 what?")
    assert (kinds(outcomes), outcomes[0].refused, dialogue.over) == ([Deferred], True, True)


def test_many_recipients_are_written_in_windows_and_a_refused_sender_stops_them():
    envelope = envelope_for(*(f"u{n}@example.org" for n in range(2 * WINDOW)))
    steps, outcomes = send(ready(pipelining=True), envelope, "550 no", *["503 no"] * (WINDOW - 1))
    assert len(said(steps)) == WINDOW
    assert kinds(outcomes) == [Failed] * 2 * WINDOW


def test_a_window_that_begins_with_data_is_not_written_when_nobody_was_accepted():
    envelope = envelope_for(*(f"u{n}@example.org" for n in range(WINDOW - 1)))
    steps, outcomes = send(ready(pipelining=True), envelope, "250 ok", *["550 no"] * (WINDOW - 1))
    assert "DATA" not in said(steps)
    assert kinds(outcomes) == [Failed] * (WINDOW - 1)


# --- the session ends


@pytest.mark.parametrize("trouble", ["421 4.3.2 shutting down", LOST])
@pytest.mark.parametrize("at", range(5))
def test_a_session_that_ends_anywhere_defers_what_was_open(trouble, at):
    answers = ["250 ok", "250 ok", "550 5.1.1 no", "354 go"]
    dialogue = ready()
    _, outcomes = send(dialogue, envelope_for("a@example.org", "b@example.org"), *answers[:at], trouble)
    assert dialogue.over
    assert (type(outcomes[0]), outcomes[0].refused) == (Deferred, True)
    assert type(outcomes[1]) is (Failed if at > 2 else Deferred)
    assert outcomes[0].text == (trouble if isinstance(trouble, str) else "connection lost")


@pytest.mark.parametrize(
    "answers",
    [["354 go"], ["250 ok", "354 go"], ["250 ok", "250 ok", "250 ok"], ["250 ok", "250 ok", "354 go", "354 go"]],
)
def test_a_reply_out_of_place_ends_the_session_and_delivers_nothing(answers):
    dialogue = ready()
    _, outcomes = send(dialogue, envelope_for(), *answers)
    assert (outcomes[0].status, outcomes[0].refused, dialogue.over) == ("4.5.0", True, True)


def test_quit_takes_any_answer():
    dialogue = ready()
    steps, _ = play(dialogue.quit(), "554 never")
    assert said(steps) == ["QUIT"]
    assert dialogue.over


codes = st.sampled_from(["250 ok", "450 4.0.0 later", "550 5.0.0 no", "354 go", "421 bye", "220 x", LOST])


def converse(dialogue, envelope, answers, groups):
    """Give the answers, so many at once as the groups say. Returns the outcomes, the last step, and its last answer."""
    talk = talk_about(envelope, dialogue)
    step, left = next(talk), list(answers)
    try:
        for most in groups:
            last = step
            together = list(takewhile(lambda answer: answer is not LOST, left[: min(most, len(step.phases))]))
            last_answer, left = left[max(0, len(together) - 1)], left[max(1, len(together)) :]
            step = talk.send(list(map(reply, together))) if together else talk.throw(LOST)
    except StopIteration as end:
        return end.value, last, last_answer
    raise AssertionError(f"the talk goes on with {step}")


@given(
    st.booleans(),
    st.integers(1, 5),
    st.lists(codes, min_size=20, max_size=20),
    st.lists(st.integers(1, 9), min_size=20, max_size=20),
)
def test_whatever_a_peer_answers_and_in_whatever_groups_each_recipient_has_one_outcome(
    pipelining, count, answers, groups
):
    dialogue = ready(pipelining=pipelining)
    envelope = envelope_for(*(f"u{n}@example.org" for n in range(count)))
    outcomes, last_step, last_answer = converse(dialogue, envelope, answers, groups)
    assert len(outcomes) == count
    if Delivered in kinds(outcomes):
        assert isinstance(last_step, SendContent)
        assert last_answer in {"250 ok", "220 x"}
    if dialogue.over:
        assert not any(isinstance(outcome, Delivered) for outcome in outcomes)
    assert outcomes == converse(ready(pipelining=pipelining), envelope, answers, [1] * 20)[0]


# --- extensions


def test_parameters_are_said_only_to_a_peer_that_offers_them():
    envelope = Envelope(
        "id1",
        "joe@example.net",
        (Recipient("ann@example.org", ("SUCCESS", "DELAY"), "rfc822;a+2Bb+3Dc+20d@example.org"),),
        0.0,
        ret="HDRS",
        envid="QQ+20314+2B159",
        facts=Facts(size=321, eight_bit=True, utf8_headers=True),
    )
    steps, _ = send(ready(), envelope, "250 ok", "550 no")
    assert said(steps) == ["MAIL FROM:<joe@example.net>", "RCPT TO:<ann@example.org>"]
    offered = ready(size=0, eight_bit_mime=True, smtputf8=True, dsn=True)
    steps, _ = send(offered, envelope, "250 ok", "550 no")
    assert said(steps) == [
        "MAIL FROM:<joe@example.net> SIZE=321 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=QQ+20314+2B159",
        "RCPT TO:<ann@example.org> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+2Bb+3Dc+20d@example.org",
    ]


def test_a_plain_message_asks_for_nothing_special():
    steps, _ = send(ready(size=0, eight_bit_mime=True, smtputf8=True, dsn=True), envelope_for(size=5), "550 no")
    assert said(steps) == ["MAIL FROM:<joe@example.net> SIZE=5"]


def test_a_message_over_the_announced_size_is_not_even_tried():
    steps, outcomes = send(ready(size=100), envelope_for("a@example.org", "b@example.org", size=101))
    assert [(type(outcome), outcome.status) for outcome in outcomes] == [(Failed, "5.3.4")] * 2
    assert not steps


def test_a_message_of_exactly_the_announced_size_is_tried():
    steps, _ = send(ready(size=100), envelope_for(size=100), "550 no")
    assert said(steps) == ["MAIL FROM:<joe@example.net> SIZE=100"]


def test_a_recipient_who_needs_smtputf8_fails_alone_where_it_is_not_offered():
    envelope = envelope_for("a@example.org", "jö@example.org", "c@example.org")
    steps, outcomes = send(ready(), envelope, "250 ok", "250 ok", "450 no", "354 go", "250 ok")
    assert said(steps)[1:3] == ["RCPT TO:<a@example.org>", "RCPT TO:<c@example.org>"]
    assert kinds(outcomes) == [Delivered, Failed, Deferred]
    assert outcomes[1].status == "5.6.7"


def test_a_sender_who_needs_smtputf8_fails_all_where_it_is_not_offered():
    _, outcomes = send(ready(), envelope_for("a@example.org", "b@example.org", sender="jö@example.net"))
    assert [outcome.status for outcome in outcomes] == ["5.6.7"] * 2


def test_where_smtputf8_is_offered_an_address_in_utf8_uses_it():
    steps, _ = send(ready(smtputf8=True), envelope_for("jö@example.org"), "250 ok", "550 no")
    assert said(steps) == ["MAIL FROM:<joe@example.net> SMTPUTF8", "RCPT TO:<jö@example.org>"]


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
def test_no_address_can_become_a_second_command(end):
    with pytest.raises(Unreadable):
        send(ready(pipelining=True), envelope_for(f"a@example.org>{end}RCPT TO:<b@example.org"), "250 ok")


@given(st.text(min_size=1, max_size=80))
def test_no_wish_can_become_a_second_command(text):
    envelope = Envelope("id1", "", (Recipient("a@example.org", orcpt=f"rfc822;{text}"),), 0.0, envid=text)
    try:
        steps, _ = send(ready(pipelining=True, dsn=True), envelope, "550 no", "503 no", "503 no")
    except Unreadable:
        assert "\r" in text or "\n" in text
    else:
        assert steps[0].octets.count(b"\r\n") == 3
        assert steps[0].octets.endswith(b"\r\nDATA\r\n")

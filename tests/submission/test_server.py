# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The server's side of a session: what RFC 5321 says, asked of a policy that keeps everything."""

import errno
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailspool.errors import AddressError, PermanentError, SpoolError, TransientError
from mailspool.model.envelope import Recipient
from mailspool.submission.policy import Limits
from mailspool.submission.reply import Refused
from mailspool.submission.server import MAX_LINE, Session, State

OPENED = b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"


class Kept(io.BytesIO):
    """Content that is still to be read when it was closed."""

    text = None

    def close(self):
        self.text = self.getvalue()
        super().close()


class Keep:
    """Accepts all, but raises the errors in `faults` where it is asked: {"rcpt": AddressError(…)}."""

    def __init__(self, faults=None):
        self.faults = faults or {}
        self.accepted, self.opened = [], []

    def ask(self, stage):
        if stage in self.faults:
            raise self.faults[stage]

    def check_client(self):
        self.ask("client")

    def check_hello(self, name):
        self.ask("hello")

    def check_sender(self, transaction):
        self.ask("mail")
        return transaction.sender

    def check_recipient(self, transaction, recipient):
        self.ask("rcpt")
        return recipient

    def open_content(self, transaction):
        self.ask("data")
        self.opened.append(Kept())
        return self.opened[-1]

    def accept(self, transaction, content):
        self.ask("final")
        self.accepted.append((transaction, content.getvalue()))
        return "kept"


class Talk:
    """A session that has begun; say(octets) -> the replies to them, line by line."""

    def __init__(self, policy=None, limits=None, **options):
        self.policy = policy or Keep()
        self.session = Session(self.policy, "mx.test", limits or Limits(), **options)
        self.session.begin()
        self.greeting = self.session.replies()

    def say(self, octets):
        self.session.receive(octets)
        return self.session.replies().decode().splitlines()

    @property
    def contents(self):
        return [content for _, content in self.policy.accepted]


def last(text, **options):
    """The last reply to lines."""
    return Talk(**options).say(text.replace("\n", "\r\n").encode() + b"\r\n")[-1]


HELLO = "HELO c\n"
MAIL = HELLO + "MAIL FROM:<a@b>\n"
RCPT = MAIL + "RCPT TO:<c@d>\n"


@pytest.mark.parametrize(
    ("said", "reply"),
    [
        ("HELO c", "250 mx.test"),
        ("HELO", "501 5.5.4"),
        ("EHLO [127.0.0.1]", "250 SIZE"),
        ("EHLO c(omment)", "501 5.5.4"),
        ("MAIL FROM:<a@b>", "503 5.5.1"),
        (HELLO + "MAIL FROM:a@b", "501 5.5.4"),
        (HELLO + "MAIL FROM:<a@b", "501 5.5.4"),
        (HELLO + "MAIL TO:<a@b>", "501 5.5.4"),
        (HELLO + "MAIL FROM:<>", "250 2.1.0"),
        (HELLO + "mail from: <a@b>  size=5  body=8bitmime ", "250 2.1.0"),
        (HELLO + 'MAIL FROM:<"a>b"@c>', "250 2.1.0"),
        (HELLO + "MAIL FROM:<a@b> SIZE=x", "501 5.5.4"),
        (HELLO + "MAIL FROM:<a@b> SIZE=" + "9" * 21, "501 5.5.4"),
        (HELLO + "MAIL FROM:<a@b> SIZE=1 SIZE=1", "501 5.5.4"),
        (HELLO + "MAIL FROM:<a@b> BODY=BINARYMIME", "501 5.5.4"),
        (HELLO + "MAIL FROM:<a@b> SMTPUTF8=1", "501 5.5.4"),
        (HELLO + "MAIL FROM:<ä@b>", "553 5.6.7"),
        (HELLO + "MAIL FROM:<ä@b> SMTPUTF8", "250 2.1.0"),
        (HELLO + "MAIL FROM:<a@b> RET=SOME", "501 5.5.4"),
        (HELLO + "MAIL FROM:<a@b> ENVID=a=b", "501 5.5.4"),
        (HELLO + "MAIL FROM:<a@b> AUTH=<>", "555 5.5.4"),
        (MAIL + "MAIL FROM:<a@b>", "503 5.5.1"),
        (HELLO + "RCPT TO:<a@b>", "503 5.5.1"),
        (MAIL + "RCPT TO:<>", "501 5.1.3"),
        (MAIL + "RCPT FROM:<a@b>", "501 5.5.4"),
        (MAIL + "RCPT TO:<a@b> NOTIFY=NEVER,DELAY", "501 5.5.4"),
        (MAIL + "RCPT TO:<a@b> NOTIFY=", "501 5.5.4"),
        (MAIL + "RCPT TO:<a@b> ORCPT=a@b", "501 5.5.4"),
        (MAIL + "RCPT TO:<a@b> X=1", "555 5.5.4"),
        (MAIL + "DATA", "503 5.5.1"),
        (RCPT + "DATA now", "501 5.5.4"),
        (RCPT + "DATA", "354 "),
        (RCPT + "RSET\nRCPT TO:<c@d>", "503 5.5.1"),
        (RCPT + "EHLO c\nRCPT TO:<c@d>", "503 5.5.1"),
        (RCPT + "DATA\nx\n.\nRCPT TO:<c@d>", "503 5.5.1"),
        (MAIL + "BDAT 0 LAST", "503 5.5.1"),
        (RCPT + "BDAT x", "501 5.5.4"),
        ("RSET", "250 2.0.0"),
        ("NOOP whatever", "250 2.0.0"),
        ("VRFY a", "252 2.5.0"),
        ("HELP", "214 2.0.0"),
        ("EXPN a", "500 5.5.2"),
        ("STARTTLS", "500 5.5.2"),
        ("", "500 5.5.2"),
        ("NOOP \0", "500 5.5.2"),
        ("NOOP a\rb", "500 5.5.2"),
        ("A" * (MAX_LINE + 1), "500 5.5.2"),
        ("QUIT", "221 2.0.0"),
    ],
)
def test_each_command_has_its_reply(said, reply):
    assert last(said).startswith(reply)


def test_octets_that_are_no_text_are_refused():
    assert Talk().say(b"NOOP \xff\r\n") == ["500 5.5.2 a command is ASCII, or UTF-8 (RFC 6531)"]


def test_it_offers_its_extensions():
    talk = Talk(limits=Limits(size=1000), starttls=True)
    assert {line[4:] for line in talk.say(b"EHLO c\r\n")} == {
        "mx.test",
        "PIPELINING",
        "8BITMIME",
        "SMTPUTF8",
        "ENHANCEDSTATUSCODES",
        "DSN",
        "CHUNKING",
        "SIZE 1000",
        "STARTTLS",
    }


def test_what_was_said_is_in_the_transaction():
    talk = Talk()
    talk.say(b"EHLO me.test\r\nMAIL FROM:<a@b> SIZE=9 BODY=8BITMIME SMTPUTF8 RET=hdrs ENVID=x+2B\r\n")
    talk.say(b"RCPT TO:<@x,@y:c@d> NOTIFY=success,delay ORCPT=rfc822;c@d\r\nRCPT TO:<root>\r\nDATA\r\nx\r\n.\r\n")
    ((transaction, content),) = talk.policy.accepted
    assert (transaction.client, transaction.protocol, transaction.sender) == ("me.test", "ESMTP", "a@b")
    assert (transaction.size, transaction.body, transaction.smtputf8) == (9, "8BITMIME", True)
    assert (transaction.ret, transaction.envid) == ("HDRS", "x+2B")
    assert transaction.recipients == [Recipient("c@d", ("SUCCESS", "DELAY"), "rfc822;c@d"), Recipient("root")]
    assert content == b"x\r\n"


def test_the_replies_of_a_pipeline_come_in_its_order():
    said = OPENED + b"RCPT TO:<>\r\nDATA\r\nx\r\n.\r\nMAIL FROM:<>\r\nQUIT\r\nNOOP\r\n"
    codes = [line[:3] for line in Talk().say(said) if line[3] == " "]
    assert codes == ["250", "250", "250", "501", "354", "250", "250", "221"]


def test_nothing_is_heard_behind_quit():
    talk = Talk()
    assert talk.say(b"QUIT\r\nNOOP\r\n") == ["221 2.0.0 goodbye"]
    assert talk.session.state is State.ENDED
    assert talk.say(b"NOOP\r\n") == []


def test_a_command_may_end_with_a_bare_line_feed():
    assert Talk().say(b"EHLO c\nNOOP\n")[-1] == "250 2.0.0 ok"


# --- content


@pytest.mark.parametrize(
    "end", [b"\n.\n", b"\r.\r", b"\n.\r\n", b"\r\n.\n", b"\r\n.\r", b"\r\r\n.\r\r\n", b"\r\n\0.\r\n"]
)
def test_only_crlf_dot_crlf_ends_content(end):
    talk = Talk()
    smuggled = b"x" + end + b"MAIL FROM:<evil@x>\r\nRCPT TO:<c@d>\r\nDATA\r\ny"
    assert talk.say(OPENED + b"DATA\r\n" + smuggled)[-1][:3] == "354"
    assert talk.say(b"\r\n.\r\n") == ["250 2.0.0 kept"]
    assert len(talk.contents) == 1
    assert b"MAIL FROM:<evil@x>" in talk.contents[0]


@given(st.lists(st.lists(st.sampled_from([b".", b"\r", b"\n", b"x", b"\xff", b"\0"]), max_size=6).map(b"".join)))
@example([b"."])
@example([b"", b".."])
def test_every_content_comes_through_behind_data(lines):
    content = b"".join(line + b"\r\n" for line in lines)
    stuffed = (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:]
    talk = Talk()
    assert talk.say(OPENED + b"DATA\r\n" + stuffed + b".\r\n")[-1] == "250 2.0.0 kept"
    assert talk.contents == [content]


@given(st.lists(st.binary(max_size=20)))
def test_every_content_comes_through_in_chunks(chunks):
    talk = Talk()
    said = b"".join(b"BDAT %d\r\n%s" % (len(chunk), chunk) for chunk in chunks)
    assert talk.say(OPENED + said + b"BDAT 0 LAST\r\nNOOP\r\n")[-2:] == ["250 2.0.0 kept", "250 2.0.0 ok"]
    assert talk.contents == [b"".join(chunks)]


def test_chunks_that_cannot_be_taken_are_heard_out():
    talk = Talk()
    assert [line[:9] for line in talk.say(b"EHLO c\r\nBDAT 6\r\nQUIT\r\nNOOP\r\n")[-2:]] == ["503 5.5.1", "250 2.0.0"]


@pytest.mark.parametrize("command", [b"DATA", b"RCPT TO:<e@f>", b"MAIL FROM:<>"])
def test_between_chunks_no_other_command_changes_the_message(command):
    talk = Talk()
    assert talk.say(OPENED + b"BDAT 1\r\nx" + command + b"\r\nBDAT 1 LAST\r\ny")[-2][:9] == "503 5.5.1"
    assert talk.contents == [b"xy"]


def test_a_message_that_is_too_big_is_refused_whether_announced_or_not():
    talk = Talk(limits=Limits(size=10))
    assert talk.say(b"HELO c\r\nMAIL FROM:<> SIZE=11\r\n")[-1].startswith("552 5.3.4")
    assert talk.say(OPENED + b"DATA\r\n" + b"x" * 9 + b"\r\n.\r\n")[-1].startswith("552 5.3.4")
    assert talk.say(OPENED + b"DATA\r\n" + b"x" * 8 + b"\r\n.\r\n")[-1] == "250 2.0.0 kept"
    assert talk.say(OPENED + b"BDAT 11\r\n" + b"x" * 11)[-1].startswith("552 5.3.4")
    assert talk.say(b"BDAT 0 LAST\r\n")[-1].startswith("503 5.5.1")


def test_what_was_not_accepted_is_closed_and_gone():
    for end in (b"", b"RSET\r\n"):
        talk = Talk()
        talk.say(OPENED + b"BDAT 1\r\nx" + end)
        talk.session.close()
        assert talk.policy.opened[0].closed


@pytest.mark.parametrize(("fault", "reply"), [(errno.ENOSPC, "452 4.3.1"), (errno.EIO, "451 4.3.0")])
def test_content_that_cannot_be_written_is_heard_out_and_refused_for_now(fault, reply):
    class Full(Kept):
        def write(self, _octets):
            raise OSError(fault, "no")

    talk = Talk()
    talk.policy.open_content = lambda _: Full()
    replies = talk.say(OPENED + b"DATA\r\nx\r\n.\r\nNOOP\r\n")
    assert (replies[-2][:9], replies[-1][:3]) == (reply, "250")
    assert talk.policy.accepted == []


# --- the policy and the limits


@pytest.mark.parametrize(
    ("error", "reply"),
    [
        (Refused(550, "5.7.1", "not you"), "550 5.7.1 not you"),
        (AddressError("bad"), "553 5.1.3 bad"),
        (SpoolError("disk"), "451 4.3.0 disk"),
        (TransientError("4.4.3", "", "dns"), "451 4.4.3 dns (4.4.3)"),
        (PermanentError("5.7.1", "", "a\r\nb\0c"), "550 5.7.1 a; b?c (5.7.1)"),
        (OSError(errno.ENOSPC, "full"), "452 4.3.1 there is no room for the message now; try again later"),
        (ZeroDivisionError(), "451 4.3.0 local fault (ZeroDivisionError); try again later"),
    ],
)
@pytest.mark.parametrize("stage", ["mail", "rcpt", "data", "final"])
def test_an_error_of_the_policy_is_its_reply_and_the_session_goes_on(stage, error, reply):
    talk = Talk(Keep({stage: error}))
    replies = talk.say(b"HELO c\r\nMAIL FROM:<a@b>\r\n")
    replies += talk.say(b"RCPT TO:<c@d>\r\n") if stage != "mail" else []
    replies += talk.say(b"DATA\r\n") if stage in {"data", "final"} else []
    replies += talk.say(b"x\r\n.\r\n") if stage == "final" else []
    assert replies[-1] == reply
    assert talk.say(b"NOOP\r\n") == ["250 2.0.0 ok"]
    assert talk.policy.accepted == []


def test_whom_the_policy_turns_away_may_only_quit():
    talk = Talk(Keep({"client": Refused(554, "5.7.1", "no")}))
    assert talk.greeting == b"554 5.7.1 no\r\n"
    assert [line[:3] for line in talk.say(b"EHLO c\r\nQUIT\r\n")] == ["503", "221"]


@pytest.mark.parametrize("stage", ["client", "hello", "mail", "rcpt"])
def test_421_ends_the_session_at_any_stage(stage):
    talk = Talk(Keep({stage: Refused(421, "4.3.2", "going")}))
    talk.say(OPENED)
    assert talk.session.state is State.ENDED


def test_there_is_an_end_to_errors_to_commands_and_to_recipients():
    assert Talk().say(b"what\r\n" * 30)[20:] == [
        "500 5.5.2 there is no such command; HELP lists all",
        "421 4.7.0 too many errors",
    ]
    assert len(Talk(limits=Limits(commands=10)).say(b"NOOP\r\n" * 30)) == 11
    many = Talk(limits=Limits(recipients=2)).say(OPENED + b"RCPT TO:<c@d>\r\n" * 2)
    assert [line[:9] for line in many[-3:]] == ["250 2.1.5", "250 2.1.5", "452 4.5.3"]


def test_who_sends_mail_may_go_on_for_ever():
    talk = Talk(limits=Limits(commands=6, errors=1))
    for _ in range(20):
        talk.say(OPENED + b"WHAT\r\nDATA\r\nx\r\n.\r\n")
    assert len(talk.contents) == 20


# --- TLS


def test_tls_forgets_all_that_was_said_in_clear():
    talk = Talk(starttls=True)
    assert talk.say(OPENED + b"STARTTLS\r\nMAIL FROM:<evil@x>\r\n")[-1][:3] == "220"
    assert talk.session.state is State.SECURING
    assert talk.say(b"NOOP\r\n") == []
    talk.session.secured()
    assert talk.say(b"MAIL FROM:<a@b>\r\n") == ["503 5.5.1 say EHLO or HELO first"]
    assert "250-STARTTLS" not in talk.say(b"EHLO c\r\n")
    assert talk.say(b"STARTTLS\r\n")[-1][:3] == "503"
    talk.say(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n.\r\n")
    assert talk.policy.accepted[0][0].protocol == "ESMTPS"


# --- however it is cut

WORDS = [
    b"EHLO c\r\n", b"HELO c\r\n", b"MAIL FROM:<a@b>\r\n", b"RCPT TO:<c@d>\r\n", b"DATA\r\n", b".\r\n", b"\r\n",
    b"x", b"\n", b"\r", b"..\r\n", b"BDAT 5\r\n", b"BDAT 3 LAST\r\n", b"RSET\r\n", b"QUIT\r\n",
    b"\xff", b"NOOP\r\n", b"A" * MAX_LINE,
]  # fmt: skip


@given(st.lists(st.sampled_from(WORDS), max_size=30), st.lists(st.integers(1, 40), min_size=1), st.booleans())
@example([OPENED, b"DATA\r\n", b"..x\r\n", b".\r\n", b"NOOP\r\n"], [1], False)
@example([OPENED, b"BDAT 5\r\n", b"12345", b"BDAT 3 LAST\r\n", b"123", b"NOOP\r\n"], [1], False)
def test_however_the_octets_are_cut_the_replies_are_the_same(words, sizes, opened):
    octets = (OPENED + b"DATA\r\n" if opened else b"") + b"".join(words)
    whole, cut = Talk(limits=Limits(size=50)), Talk(limits=Limits(size=50))
    expected = whole.say(octets)
    found, at = [], 0
    while at < len(octets):
        size = sizes[at % len(sizes)]
        found += cut.say(octets[at : at + size])
        at += size
    assert (found, cut.contents, cut.session.state) == (expected, whole.contents, whole.session.state)


@given(st.binary(), st.sampled_from(["data", "final", "rcpt"]))
def test_no_reply_is_broken_by_what_a_policy_says(text, stage):
    fault = Refused(550, "5.7.1", text.decode("utf-8", "surrogateescape"))
    talk = Talk(Keep({stage: fault}))
    talk.session.receive(OPENED + b"DATA\r\n.\r\n")
    for line in talk.session.replies().split(b"\r\n")[:-1]:
        assert line[:3].isdigit()
        assert line[3:4] in b"- "
        assert len(line) <= 510
        line.decode()

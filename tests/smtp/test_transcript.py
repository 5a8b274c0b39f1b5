# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
from mailspool.smtp import transcript as transcript_module
from mailspool.smtp.reply import Reply
from mailspool.smtp.transcript import Transcript


def test_it_reads_as_the_session_went():
    transcript = Transcript()
    transcript.note("connected")
    transcript.hear([Reply(220, ("mx.example.org", "hello"))])
    transcript.say(b"MAIL FROM:<>\r\nRCPT TO:<j\xc3\xb6@example.org>\r\n", 1234)
    assert str(transcript).splitlines() == [
        "-- connected",
        "S: 220 mx.example.org hello",
        "C: MAIL FROM:<>",
        "C: RCPT TO:<jö@example.org>",
        "C: [1234 octets]",
    ]


def test_a_long_session_keeps_its_beginning_and_its_end():
    transcript = Transcript()
    for number in range(1000):
        transcript.note(str(number))
    lines = str(transcript).splitlines()
    beginning, end = transcript_module.MAX_BEGINNING, transcript_module.MAX_END
    assert lines[0] == "-- 0"
    assert lines[beginning] == f"-- {1000 - beginning - end} left out"
    assert lines[-1] == "-- 999"
    assert len(lines) == beginning + end + 1


def test_no_entry_is_longer_than_its_bound():
    transcript = Transcript()
    transcript.say(b"RCPT TO:<a@example.org>\r\n" * 10000)
    transcript.hear([Reply(250, ("x" * 2000,) * 30)])
    assert len(str(transcript)) < 4 * transcript_module.MAX_ENTRY

# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Lines that people bring along from msmtp do the same with our sendmail: both are run and what arrives compared."""

import re

import pytest

from tests.peers.server import program
from tests.running import eventually

TO, CC, BCC, MORE = (f"{name}@old.test" for name in ("to", "cc", "bcc", "more"))
ME = "me@box.test"
HEADER = f"From: Me <{ME}>\nTo: <{TO}>\nCc: {CC}\nBcc: {BCC}\nSubject: test\n"
TEXT = "\nGrüße\n\n..\n.dot\nFrom here\n" + "long " * 300 + "\n"

LINES = [
    pytest.param(("-t",), id="recipients out of the header"),
    pytest.param(("-t", "-i"), id="PHP's"),
    pytest.param(("-oi", "-t", "-oem"), id="what is for other mail systems is ignored"),
    pytest.param(("-t", MORE), id="recipients out of the header and of the line"),
    pytest.param(("-f", "bounces@box.test", TO), id="a sender"),
    pytest.param(("-fbounces@box.test", "-oi", "--", TO, MORE), id="options end"),
    pytest.param(("-F", "Älice", "-f", ME, "-i", TO), id="a full name"),
    pytest.param(("-N", "failure,delay", "-R", "hdrs", "-f", ME, TO), id="wishes for reports"),
    pytest.param(("-B8BITMIME", "-om", "-odb", "-n", "-m", "-G", "-h", "3", "-f", ME, TO), id="ignored ones"),
    pytest.param(("-L", "tag", "-O", "Option=value", "-bm", "-f", ME, TO), id="ignored ones with values"),
    pytest.param(("-a", "default", "-f", ME, TO), id="an account"),
    pytest.param(("-t", "-a", "default", "-v"), id="an account, and said aloud"),
]


@pytest.fixture(scope="module", autouse=True)
def account(box):
    program("msmtp", "msmtp")
    box.write("/etc/msmtprc", f"account default\nhost {box.sink.host}\nport {box.sink.port}\nfrom root@box.test\n")


def arrived(box, name, arguments, text, recipients=1):
    """Senders, recipients, wishes, and the text without what each mail system adds by itself. recipients: at least."""
    before, said = len(box.sink.mails), len(box.sink.commands)
    box.run(name, *arguments, input=text)

    def addressed():
        return [recipient for mail in box.sink.mails[before:] for recipient in mail.recipients]

    eventually(lambda: len(addressed()) >= recipients, what=f"mail of {name}")
    for recipient in addressed():
        box.mail_for(recipient)
    envelope = [line.decode() for line in box.sink.commands[said:] if line[:4] in {b"MAIL", b"RCPT"}]
    wishes = {word for line in envelope for word in line.split()[2:] if word.startswith(("NOTIFY", "RET"))}
    mails = box.sink.mails[before:]
    head, _, body = mails[0].content.decode().partition("\r\n\r\n")
    fields = re.sub(r"\r\n(?=[ \t])", "", head).split("\r\n")
    kept = sorted(field for field in fields if not field.startswith(("Received:", "Date:", "Message-ID:")))
    return {mail.sender for mail in mails}, sorted(addressed()), wishes, kept, body


@pytest.mark.parametrize("arguments", LINES)
def test_a_line_for_msmtp_means_the_same_here(arguments, box):
    theirs = arrived(box, "msmtp", arguments, HEADER + TEXT)
    assert arrived(box, "sendmail", arguments, HEADER + TEXT, len(theirs[1])) == theirs


def test_what_has_no_header_gets_the_same_from(box):
    arguments = ("-f", ME, "-F", "Me Myself", TO)
    assert arrived(box, "sendmail", arguments, TEXT) == arrived(box, "msmtp", arguments, TEXT)

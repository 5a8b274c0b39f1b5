# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""How PHP, Perl, Ruby and Node.js send mail unless they are told otherwise, and what each does when it is refused."""

import email
import email.policy
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.peers.server import missing
from tests.system.callers.conftest import BODY, LEFT, as_handed_in

GONE = "gone@box.test"  # an alias says so
NODE_PATH = {"NODE_PATH": "/usr/share/nodejs"}
BS = "sendmail://default"
LARAVEL = f"{BS}?command=%2Fusr%2Fsbin%2Fsendmail%20-bs%20-i"
T = f"{BS}?command=%2Fusr%2Fsbin%2Fsendmail%20-t%20-i"


class Language(NamedTuple):
    """words: the interpreter, which reads the script. library: a file or folder of the Debian package."""

    words: tuple[str, ...]
    script: str
    library: str
    package: str


PHP = Language(("php", "--"), "mail.php", "/usr/bin/php", "php-cli")
SYMFONY = Language(("php", "--"), "symfony.php", "/usr/share/php/Symfony/Component/Mailer", "php-symfony-mailer")
PERL = Language(("perl", "-"), "mail.pl", "/usr/share/perl5/Email/Sender", "libemail-sender-perl")
RUBY = Language(("ruby", "-"), "mail.rb", "/usr/lib/ruby/vendor_ruby/mail", "ruby-mail")
NODE = Language(("node", "-"), "mail.js", "/usr/share/nodejs/nodemailer", "node-nodemailer")


@pytest.fixture(scope="module", autouse=True)
def body(box):
    box.write("/srv/body", BODY)


@pytest.fixture
def send(box):
    """send(PHP, "to@example.test", …): its exit code, and what it said."""

    def call(language, *arguments):
        if not Path(language.library).exists():
            missing(f"there is no {language.library} ({language.package})")
        ended = box.program(*language.words, *arguments, script=language.script, **NODE_PATH)
        return ended.returncode, ended.stdout

    return call


def parsed(mail):
    return email.message_from_bytes(mail.content, policy=email.policy.default)


def text_in(mail):
    return re.sub("\r*\n", "\n", parsed(mail).get_content())  # \r\r\n: Ruby encodes the \r, too, and then ends the line


# --- text that the library hands on as it is: it leaves byte for byte


def test_mail_of_php_reaches_to_and_bcc_as_it_was_given(box, send):
    assert send(PHP, "to@php.test", "bcc@php.test") == (0, "")
    mail = box.mail_for("to@php.test")
    assert mail.content == box.mail_for("bcc@php.test").content
    assert mail.sender == "bounces@box.test"
    assert as_handed_in(mail) == (
        "To: to@php.test\nSubject: from the web\nFrom: web@box.test\n"
        f"Content-Type: text/plain; charset=utf-8\n\n{BODY}\n"
    )


def test_mail_of_email_sender_reaches_to_and_bcc_as_it_was_given(box, send):
    assert send(PERL, "to@perl.test", "bcc@perl.test") == (0, "")
    mail = box.mail_for("to@perl.test")
    assert mail.content == box.mail_for("bcc@perl.test").content
    assert mail.sender == "bounces@box.test"
    assert as_handed_in(mail, ["Message-ID"]) == (
        f"From: perl@box.test\nTo: to@perl.test\nSubject: from perl\nDate: Mon, 2 Jan 2023 03:04:05 +0000\n\n{BODY}"
    )


@pytest.mark.parametrize("newline", ["unix", "windows"])
def test_raw_mail_of_nodemailer_arrives_as_it_was_given(newline, box, send):
    assert send(NODE, newline, f"raw@{newline}.test") == (0, "")
    mail = box.mail_for(f"raw@{newline}.test")
    assert mail.sender == "node@box.test"
    added = ("From", "Date", "Message-ID")
    assert as_handed_in(mail, added) == f"Subject: raw\nTo: raw@{newline}.test\n\n{BODY}"


@pytest.mark.parametrize(("dsn", "name"), [(BS, "bs"), (LARAVEL, "laravel"), (T, "t")])
def test_raw_mail_of_symfony_arrives_as_it_was_given(dsn, name, box, send):
    assert send(SYMFONY, dsn, f"raw@{name}.test") == (0, "")
    mail = box.mail_for(f"raw@{name}.test")
    assert mail.sender == "web@box.test"
    added = ("From", "Date", "Message-ID")
    assert as_handed_in(mail, added) == f"Subject: raw\nTo: raw@{name}.test\n\n{BODY}"


# --- text that the library encodes: what is decoded is what was given


@pytest.mark.parametrize(
    ("language", "first", "name", "sender"),
    [
        pytest.param(RUBY, (), "ruby", "rails@box.test", id="mail of ruby"),
        pytest.param(NODE, ("unix",), "unix", "node@box.test", id="nodemailer with the newlines of Unix"),
        pytest.param(NODE, ("windows",), "windows", "node@box.test", id="nodemailer with the newlines of Windows"),
        pytest.param(SYMFONY, (BS,), "bs", "web@box.test", id="symfony with -bs"),
        pytest.param(SYMFONY, (LARAVEL,), "laravel", "web@box.test", id="laravel with -bs -i"),
        pytest.param(SYMFONY, (T,), "t", "web@box.test", id="symfony with -t -i"),
    ],
)
def test_what_was_encoded_can_be_decoded_and_shows_no_bcc(language, first, name, sender, box, send):
    to, bcc = f"to@{name}.test", f"bcc@{name}.test"
    assert send(language, *first, to, bcc) == (0, "")
    mail = box.mail_for(to)
    assert mail.content == box.mail_for(bcc).content
    assert (mail.sender, parsed(mail)["Subject"], parsed(mail)["Bcc"]) == (sender, "für alle", None)
    assert text_in(mail).rstrip("\n") == BODY.rstrip("\n")


# --- what is refused


@pytest.mark.parametrize(
    ("language", "arguments", "ends_with", "said"),
    [
        pytest.param(PHP, (), 1, LEFT, id="mail of PHP returns false"),
        pytest.param(PERL, (), 1, LEFT, id="Email::Sender fails"),
        pytest.param(NODE, ("unix",), 1, "Sendmail exited with code 67", id="nodemailer has an error"),
        pytest.param(SYMFONY, (BS,), 1, f"550 5.1.1 {LEFT}", id="symfony with -bs raises"),
        pytest.param(SYMFONY, (T,), 1, LEFT, id="symfony with -t raises"),
        pytest.param(RUBY, (), 0, LEFT, id="mail of ruby looks at no exit code"),
    ],
)
def test_who_is_refused_learns_it(language, arguments, ends_with, said, box, send):
    code, output = send(language, *arguments, GONE, GONE)
    assert code == ends_with, output
    assert said in output

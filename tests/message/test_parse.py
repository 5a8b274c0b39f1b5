# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What `parse_message` promises: whatever a caller calls a message is read, or refused with what to do."""

import io
from email.message import EmailMessage
from email.message import Message as OldMessage

import pytest

from mailspool.errors import InputError, MailspoolError, UsageError
from mailspool.message.message import Message
from mailspool.message.parse import parse_message

WHOLE = b"To: a@b\r\nSubject: \xc3\xa9\r\n\r\nbody \xc3\xa9\r\n"
TEXT = "To: a@b\nSubject: é\n\nbody é\n"


def whole(**args):
    return b"".join(parse_message(args).chunks())


class Printing:
    def print(self, file):
        print(TEXT, end="", file=file)


class PrintingBytes:
    def print(self, file):
        file.write(WHOLE)


class HeaderAndBody:
    def header(self):
        return ["To: a@b\n", "Subject: é\n"]

    def body(self):
        return ["body é\n"]


class WithBytes:
    def __bytes__(self):
        return WHOLE


class AsBytes:
    def as_bytes(self):
        return WHOLE


@pytest.mark.parametrize(
    "message",
    [
        TEXT,
        TEXT.encode(),
        bytearray(TEXT.encode()),
        memoryview(TEXT.encode()),
        TEXT.splitlines(keepends=True),
        TEXT.splitlines(),
        tuple(TEXT.encode().splitlines()),
        ["To: a@b\nSubject: é\n", "\nbody é"],
        Printing(),
        PrintingBytes(),
        HeaderAndBody(),
        WithBytes(),
        AsBytes(),
        Message([TEXT.encode()]),
    ],
    ids=lambda message: type(message).__name__,
)
def test_every_documented_kind_of_message_is_read(message):
    assert whole(message=message) == WHOLE


@pytest.mark.parametrize("kind", [EmailMessage, OldMessage])
def test_an_email_message_is_serialised_with_crlf(kind):
    message = kind()
    message["To"] = "a@b"
    message["Bcc"] = "c@d"
    message.set_payload("one\n.\nFrom two\n")
    assert whole(message=message) == b"To: a@b\r\nBcc: c@d\r\n\r\none\r\n.\r\nFrom two\r\n"


def test_a_line_with_newlines_in_it_is_only_more_lines():
    assert whole(message=["A: b\n", "\n", "x\r\n.\r\nQUIT\n"]) == b"A: b\r\n\r\nx\r\n.\r\nQUIT\r\n"


def test_a_message_comes_before_a_filehandle_and_that_before_a_filename(tmp_path):
    path = tmp_path / "m"
    path.write_bytes(b"A: file\n")
    handle = io.BytesIO(b"A: handle\n")
    assert parse_message({"message": "A: text\n", "filehandle": handle, "filename": path}).get("a") == ["text"]
    assert parse_message({"message": None, "filehandle": handle, "filename": path}).get("a") == ["handle"]
    assert parse_message({"filename": str(path)}).get("a") == ["file"]


def test_a_filehandle_is_read_from_where_it_stands_be_it_text_or_binary():
    binary, text = io.BytesIO(b"skip\n" + TEXT.encode()), io.StringIO("skip\n" + TEXT)
    binary.readline()
    text.readline()
    assert whole(filehandle=binary) == whole(filehandle=text) == WHOLE


def test_an_empty_message_is_a_message():
    assert whole(message="") == b"\r\n"


def test_a_file_is_read_only_as_far_as_it_is_needed(tmp_path):
    path = tmp_path / "m"
    path.write_bytes(b"A: b\n\n" + b"x" * 10_000_000)
    handle = path.open("rb")
    parse_message({"filehandle": handle})
    assert handle.tell() < 200_000


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ({}, "give one as message=, filehandle= or filename="),
        ({"filename": "/no/such/file"}, "cannot open the message file '/no/such/file': No such file"),
        ({"message": 5}, "a int is no message: give str"),
        ({"message": object()}, "a object is no message"),
    ],
)
def test_what_is_no_message_is_refused_with_what_to_do(args, says):
    with pytest.raises(UsageError, match=says):
        parse_message(args)


def test_characters_that_are_none_are_refused_and_escaped_octets_are_not():
    with pytest.raises(InputError, match="is no character"):
        whole(message="A: \ud800\n")
    assert whole(message="A: \udcff\n") == b"A: \xff\r\n\r\n"


def test_a_text_file_in_the_wrong_encoding_is_refused_with_what_to_do():
    with pytest.raises(InputError, match="open its file in binary mode"):
        whole(filehandle=io.TextIOWrapper(io.BytesIO(b"A: \xff\n"), "utf-8"))


def test_a_file_that_fails_while_it_is_read_is_a_local_fault(tmp_path):
    class Failing:
        def read(self, _size):
            raise OSError(5, "Input/output error")

    with pytest.raises(MailspoolError, match="cannot read the message: Input/output error") as caught:
        whole(filehandle=Failing())
    assert caught.value.exit_code == 75

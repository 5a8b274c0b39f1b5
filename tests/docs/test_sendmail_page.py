# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""sendmail(1) tells of every option that `sendmail` knows, and its examples are understood."""

import re
import shlex

import pytest

from mailspool.cli import sendmail
from mailspool.errors import InputError, NotRunning, SpoolError, UsageError
from mailspool.submission import arguments
from tests.running import ROOT

PAGE = re.sub(r"\\f[BIR]", "", (ROOT / "docs/man/sendmail.1").read_text()).replace("\\-", "-").replace("\\e", "\\")
OPTIONS = PAGE.partition(".SH OPTIONS")[2].partition(".SH ALIASES")[0]


def named_in(text):
    """Each option letter that the text gives a paragraph."""
    return {
        letter
        for tag in re.findall(r"^\.TP\n((?:.*\\\n)*.*)$", text, re.MULTILINE)
        for letter in re.findall(r"-(\w)", tag)
    }


def test_every_option_that_sendmail_knows_stands_there_and_no_other():
    assert named_in(OPTIONS) == {*arguments._FLAGS, *arguments._VALUED, *arguments._ATTACHED}


def test_what_means_something_is_not_among_the_ignored():
    _, _, ignored = OPTIONS.partition(".SS Accepted and ignored")
    assert named_in(ignored) - set("od") == {*arguments._FLAGS, *arguments._VALUED, *arguments._ATTACHED} - {
        *arguments._MEANING,
        "d",
    }


def test_every_mode_has_its_paragraph():
    assert set(re.findall(r"-b(\w)", OPTIONS)) == {*sendmail._MODES, "m"} - {"q"}


def test_the_exit_codes_are_those_of_the_errors():
    codes = {int(code) for line in re.findall(r"^\.B ([\d, ]+)$", PAGE, re.MULTILINE) for code in line.split(",")}
    assert codes >= {0, 77, 78, *(error.exit_code for error in (UsageError, InputError, NotRunning, SpoolError))}


@pytest.mark.parametrize(
    "line", [line for line in re.findall(r"sendmail -.*$", PAGE, re.MULTILINE) if "fR" not in line]
)
def test_its_examples_are_understood(line):
    options = arguments.parse_arguments(shlex.split(line))
    assert not options.ignored
    assert options.recipients or options.from_header or options.mode != "m"


def test_the_other_names_lead_to_it():
    for name in arguments.PROGRAMS:
        assert (ROOT / f"docs/man/{name}.1").read_text() == ".so man1/sendmail.1\n"
        assert name in PAGE.partition(".SH SYNOPSIS")[0]

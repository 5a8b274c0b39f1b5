# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The man pages say what the code says, and a formatter understands them."""

import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailspool.cli import manual
from mailspool.cli.admin import mailspool
from mailspool.config.explain import options
from tests.peers.server import missing

PAGES = sorted(
    path
    for path in (manual.ROOT / "docs/man").iterdir()
    if path.suffix != ".tail" and not path.read_text("utf-8").startswith(".so ")  # another name of one of the others
)


def rendered(source):
    groff = shutil.which("groff") or missing("there is no groff (groff-base)")
    ended = subprocess.run(
        [groff, "-man", "-Tutf8", "-P-cbou", "-ww", "-K", "utf8", "-rLL=200n"],
        input=source,
        capture_output=True,
        text=True,
        check=True,
    )
    return ended.stdout, ended.stderr


def test_the_generated_pages_are_those_in_the_checkout():
    assert manual.main(["--check"]) == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_page_is_formatted_without_a_warning(page):
    text, warnings = rendered(page.read_text("utf-8"))
    assert warnings == ""
    assert "SEE ALSO" in text


def test_the_page_of_the_administrator_has_every_command_and_that_of_the_configuration_every_option():
    text, _ = rendered((manual.ROOT / "docs/man/mailspool.1").read_text("utf-8"))
    assert all(f"mailspool {name}" in text for name in mailspool.list_commands(None))
    text, _ = rendered((manual.ROOT / "docs/man/mailspool.toml.5").read_text("utf-8"))
    assert all(option.name in text for option in options())


@given(st.text(st.characters(codec="ascii", categories=("L", "N", "P", "S", "Zs")), min_size=1))
def test_no_text_becomes_a_request(text):
    escaped = manual.escape(text)
    assert not escaped.startswith((".", "'"))
    assert escaped.replace("\\&", "").replace("\\-", "-").replace("\\e", "\\") == text

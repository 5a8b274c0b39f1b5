# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What the documents promise by their form: links lead somewhere, configurations are some, loud lines are told of."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from mailspool.cli.admin import mailspool
from mailspool.config.explain import options
from mailspool.supervisor.job import FAULT, LEASE
from tests.docs.page import PAGES, blocks
from tests.running import ENVIRONMENT, ROOT, me

BLOCKS = [block for page in PAGES for block in blocks(page)]
LOGINS = '["'  # a table for each host begins so; those of a configuration have names
CONFIGURATIONS = [block for block in BLOCKS if block.language == "toml" and not block.text.startswith(LOGINS)]
FOLLOWED = {
    "a host with Postfix": "tests/system/test_documents.py",
    "the file server": "tests/lab/test_document.py",
    "each host": "tests/lab/test_document.py",
}
CREDENTIALS = [block for block in BLOCKS if block.language == "toml" and block.text.startswith(LOGINS)]


def anchors(page):
    """As GitHub makes them of headings."""
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page):
    text = re.sub(r"^```.*?^```$|`[^`\n]*`", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file_and_a_heading(page):
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_architecture_names_every_module_or_its_folder_in_its_room():
    page = (ROOT / "docs/architecture.md").read_text("utf-8")
    (plan,) = re.findall(r"^```\n(7  cli/.*?)^```$", page, re.MULTILINE | re.DOTALL)
    said = dict(re.findall(r"^\S+ +(\w+)/(.*?)(?=^\S|\Z)", plan, re.MULTILINE | re.DOTALL))
    package = ROOT / "mailspool"
    for room in filter(Path.is_dir, package.iterdir()):
        modules = [path.relative_to(room) for path in room.rglob("*.py") if path.stem != "__init__"]
        named = set(re.findall(r"\w+/?", said[room.name])) if modules else set()
        assert [str(path) for path in modules if not named & {path.stem, f"{path.parts[0]}/"}] == []


@pytest.mark.parametrize("block", CONFIGURATIONS, ids=lambda block: block.place)
def test_every_configuration_passes_the_check(block, tmp_path):
    assert_checked(tmp_path, block.text)


@pytest.mark.parametrize("block", CREDENTIALS, ids=lambda block: block.place)
def test_every_file_of_credentials_passes_the_check(block, tmp_path):
    (tmp_path / "credentials").write_text(block.text)
    (tmp_path / "credentials").chmod(0o600)
    hosts = list(tomllib.loads(block.text))
    assert_checked(tmp_path, f'credentials_file = "{tmp_path}/credentials"\nsmarthost = {json.dumps(hosts)}\n')


def assert_checked(folder, text):
    (folder / "run").mkdir(mode=0o711)
    (folder / "mailspool.toml").write_text(text)
    places = {"MAILSPOOL_DEQUEUE_DIR": f"{folder}/spool", "MAILSPOOL_RUN_DIR": f"{folder}/run", "MAILSPOOL_USER": me()}
    if "shared" in text:
        places["MAILSPOOL_SHARED"] = "false"  # that the mount has passed is another matter
    if "log_file" in text:
        places["MAILSPOOL_LOG_FILE"] = f"{folder}/log"
    checked = subprocess.run(
        [sys.executable, ROOT / "bin/mailspool", "check", "-c", folder / "mailspool.toml"],
        env={**ENVIRONMENT, **places},
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stderr
    assert "warning" not in checked.stdout + checked.stderr


def test_commands_stand_in_blocks_that_are_run():
    assert {block.language for block in BLOCKS} <= {"console", "python", "toml", "ini", "json", ""}


def test_no_command_is_left_untried():
    """tests/system/test_documents.py follows each page, and who follows it on other hosts stands here."""
    notes = {note for block in BLOCKS for note in block.notes if not note.startswith("file: ")}
    assert notes == {"", "in another terminal", *(f"on {host}" for host in FOLLOWED)}
    for file in FOLLOWED.values():
        assert "blocks(" in (ROOT / file).read_text()


def loud_lines():
    """The text of everything that the program logs as a warning or worse."""
    for path in sorted((ROOT / "mailspool").rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text("utf-8"))):
            match call:
                case ast.Call(
                    func=ast.Attribute(attr="warning" | "error" | "exception"), args=[ast.Constant(str(text))]
                ):
                    yield text
                case ast.Call(
                    func=ast.Attribute(attr="record") | ast.Name("record"),
                    args=[ast.Constant(str(text)), ast.Constant("warning" | "error")],
                ):
                    yield text


def test_every_line_that_warns_stands_in_operating():
    table = (ROOT / "docs/operating.md").read_text("utf-8").partition("## Lines that want")[2].partition("\n## ")[0]
    missing = {text for text in loud_lines() if f"`{text.partition(':')[0]}`" not in table}
    assert missing - {"alarm"} == set()  # "alarm" is told by programs that deliver by themselves
    assert len(set(loud_lines())) > 20


def rules():
    """Each rule by which the program says that it holds a message back."""
    for path in sorted((ROOT / "mailspool").rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text("utf-8"))):
            match call:
                case ast.Call(func=ast.Name("Held" | "Reason" | "_Obstacle"), args=[ast.Constant(str(rule)), *_]):
                    yield rule


def test_every_rule_that_holds_a_message_back_stands_in_operating():
    table = (ROOT / "docs/operating.md").read_text("utf-8").partition("## What holds")[2].partition("\n## ")[0]
    found = {*rules(), LEASE, FAULT} - {"limits"}  # which is told as what it is that is used up
    assert {rule for rule in found if f"`{rule}`" not in table} == set()
    assert len(found) > 15


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_named_in_the_text_exist_with_their_options(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for words in re.findall(r"`mailspool ([a-z][^`]*)`", text):
        name, *rest = words.partition(" && ")[0].split()
        command = mailspool.get_command(None, name)
        assert command, words
        known = {text for parameter in [*command.params, *mailspool.params] for text in parameter.opts} | {"--help"}
        assert {word for word in rest if re.fullmatch(r"--[a-z-]+|-[a-z]", word)} <= known, words


def test_the_cookbook_names_no_option_that_is_not_there():
    text = (ROOT / "docs/cookbook.md").read_text("utf-8")
    cells = re.findall(r"^\| [^|]* \| ([^|]*) \|$", text, re.MULTILINE)
    named = {word for cell in cells for word in re.findall(r"`([a-z]+_[a-z_]+)`", cell)}
    assert named
    assert named <= {option.name for option in options()}

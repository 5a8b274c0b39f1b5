# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What mailspoold is started with means the same with click and without."""

import subprocess
import sys

import pytest

from mailspool.cli.mailspoold import mailspoold
from mailspool.cli.start import Usual, usual

USUAL = [
    [],
    ["-f"],
    ["--foreground", "-c", "x/../y.toml"],
    ["-c", "/etc/x.toml", "-c", "y.toml", "-o", "a=b", "--option", "c=", "-f", "-f"],
    ["--config", "-f", "-o", "-c"],
]


@pytest.mark.parametrize("words", USUAL, ids=" ".join)
def test_the_usual_words_mean_what_click_makes_of_them(words):
    options = mailspoold.make_context("mailspoold", list(words)).params
    assert usual(words) == Usual(options["foreground"], options["config"], options["overrides"])
    assert not options["check"]


@pytest.mark.parametrize(
    "words",
    [
        ["-t"],
        ["-f", "--check"],
        ["-h"],
        ["--version"],
        ["-c"],
        ["-fc", "x"],
        ["-cx"],
        ["--config=x"],
        ["x"],
        ["-c", ""],
    ],
)
def test_all_other_words_are_left_to_click(words):
    assert usual(words) is None


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


def test_what_no_process_of_the_daemon_needs_is_in_the_memory_of_none():
    loaded = run(
        "import sys; from mailspool.cli.start import load; load()\n"
        "from mailspool.delivery.door import preload; preload(); print(*sys.modules)"
    )
    assert "mailspool.supervisor.supervisor" in loaded
    assert not {name.partition(".")[0] for name in loaded} & {
        *("asyncio", "attr", "click", "concurrent", "difflib", "email", "html", "idna", "multiprocessing", "pygments"),
        *("rich", "shutil", "subprocess", "tempfile", "tomllib", "zipfile"),
    }
    assert not {"importlib.metadata", "mailspool.config.explain", "mailspool.config.complaint"} & {*loaded}


@pytest.mark.parametrize(
    "use",
    [
        "import asyncio; print(asyncio.run(asyncio.sleep(0, 'there')))",
        "from asyncio import sleep, run; print(run(sleep(0, 'there')))",
        "import asyncio.runners; print('there', file=None if asyncio.runners.run is asyncio.run else sys.stderr)",
        "import importlib.metadata as m; print('there' if m.version('structlog') else '')",
        "import structlog, asyncio; asyncio.run(structlog.get_logger().ainfo('x')); print('there')",
    ],
)
def test_who_needs_it_after_all_finds_it(use):
    assert run(f"import sys; from mailspool.cli.start import load; load(); {use}")[-1] == "there"

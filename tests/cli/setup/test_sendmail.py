# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The `sendmail` that setup installs: what its names become is in tests/system/test_setup.py."""

import os
import re
import subprocess
from pathlib import Path

import pytest

import mailspool
from mailspool.cli.setup.sendmail import program
from mailspool.spool import Spool


@pytest.fixture
def sendmail(tmp_path):
    path = tmp_path / "sendmail"
    path.write_text(program())
    path.chmod(0o755)
    return path


def test_it_does_all_by_itself_where_no_daemon_runs(sendmail, tmp_path):
    config = tmp_path / "mailspool.toml"
    config.write_text(f'dequeue_dir = "{tmp_path}/spool"\nrun_dir = "{tmp_path}/run"\naliases_file = ""\n')
    spool = Spool.from_config(str(config))
    spool.create_dequeue_dirs()
    subprocess.run([sendmail, "-C", config, "-i", "a@x.example"], input=b"hello\n", timeout=60, check=True)
    assert len([*spool.store.locations()]) == 1


def test_it_loads_nothing_that_its_callers_environment_names(sendmail, tmp_path):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    for name in "sitecustomize", "usercustomize", "mailspool", "encodings":
        (theirs / f"{name}.py").write_text("raise SystemExit('theirs')\n")
    environment = {**os.environ, "PYTHONPATH": str(theirs), "PYTHONHOME": str(theirs)}
    subprocess.run([sendmail, "-bi"], env=environment, cwd=theirs, timeout=60, check=True)


@pytest.mark.parametrize("there", [(), ("cli/__init__.py", "cli/sendmail.py")], ids=["nothing", "a part"])
def test_while_mailspool_is_not_whole_its_caller_is_told_to_try_again(there, sendmail, tmp_path):
    for path in map((tmp_path / "half/mailspool").joinpath, ("__init__.py", *there)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("" if path.stem == "__init__" else "def run():\n    import mailspool.missing\n")
    folder = str(Path(mailspool.__file__).parents[1])
    sendmail.write_text(program().replace(repr(folder), repr(f"{tmp_path}/half")))
    done = subprocess.run([sendmail, "a@x.example"], input="hello\n", text=True, capture_output=True, timeout=60)
    assert done.returncode == 75
    assert re.fullmatch("sendmail: mailspool is not whole, try again later: No module named .*\n", done.stderr)

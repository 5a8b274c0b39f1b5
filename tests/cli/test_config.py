# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What `mailspool config` and `mailspool check` promise of the configuration: who says what, and all that is wrong."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from mailspool.config.explain import options
from mailspool.config.load import load


@pytest.fixture
def drop_in(bare):
    path = bare.root / "conf.d" / "10-site.toml"
    path.parent.mkdir()
    path.write_text('max_age = "3d"\nroutes."a.example" = "mx.a.example"\n')
    return path


def test_config_shows_every_value_and_is_a_configuration_file_itself(bare, drop_in, tmp_path):
    ran = bare.run("config", "-o", "cool_down=1h")
    copy = tmp_path / "copy" / "mailspool.toml"
    copy.parent.mkdir()
    copy.write_text(ran.out)
    assert load(str(copy)) == load(str(bare.config), ["cool_down=1h"])
    lines = dict(line.partition("  # ")[::2] for line in ran.out.splitlines())
    where = {words.strip(): source for words, source in lines.items()}
    assert where['hostname = "mail.example.org"'] == f"{bare.config}:5"
    assert where['max_age = "3d"'] == f"{drop_in}:1"
    assert where['routes."a.example" = "mx.a.example"'] == f"{drop_in}:2"
    assert where['cool_down = "1h"'] == "command line"
    assert where["max_hops = 50"] == "default"


def test_config_changed_shows_only_what_somebody_has_set(bare, drop_in):
    out = bare.run("config", "--changed").out
    assert out.count("\n") == len(tomllib.loads(bare.config.read_text())) + 2
    assert " default\n" not in out


def test_config_json_has_plain_numbers(bare, drop_in):
    found = json.loads(bare.run("config", "--json").out)
    assert found["max_age"] == {"value": 259200, "source": f"{drop_in}:1"}
    assert found["routes.a.example"] == {"value": "mx.a.example", "source": f"{drop_in}:2"}
    assert found["routes.a.example"]["source"] != found["max_hops"]["source"] == "default"


def test_config_of_a_wrong_configuration_ends_with_78(bare):
    assert bare.run("config", "-o", "max_hops=0").code == 78


def test_explain_tells_all_of_an_option_and_each_layer_that_sets_it(bare, drop_in, monkeypatch):
    monkeypatch.setenv("MAILSPOOL_MAX_AGE", "2d")
    ran = bare.run("config", "explain", "max_age", "-o", "max_age=1d")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == [
        'max_age = "1d"',
        "    A node that could not be delivered for so long bounces, even if tiers",
        "    are left.",
        "",
        "  from      command line",
        '  allowed   a duration such as "1h30m", or a number of seconds, from 0 on',
        '  default   "5d"',
        "  a change  counts after mailspool reload (HUP)",
        "  variable  MAILSPOOL_MAX_AGE",
        f'  set in    {drop_in}:1: "3d"',
        '            environment: "2d"',
        '            command line: "1d"',
    ]


def test_explain_tells_what_needs_a_restart_and_takes_the_name_of_the_variable(bare):
    assert "counts after a restart of the daemon" in bare.run("config", "explain", "MAILSPOOL_RUN_DIR").out


def test_explain_answers_while_the_configuration_has_faults(bare):
    ran = bare.run("config", "explain", "max_hops", "-o", "max_hops=0", "-o", "tsl=may")
    assert (ran.code, ran.out.splitlines()[0]) == (0, "max_hops = 0")
    assert "the configuration has faults" in ran.err


@pytest.mark.parametrize("name", [option.name for option in options()])
def test_all_that_explain_says_of_an_option_fits_into_eighty_columns(bare, name):
    assert [line for line in bare.run_bare("config", "explain", name).out.splitlines() if len(line) > 80] == []


def test_on_a_terminal_a_source_that_has_no_room_beside_its_value_stands_above_it(bare, drop_in):
    path = drop_in.with_name("a-name-so-long-that-it-takes-a-line-of-its-own.toml")
    path.write_text("\n\nmax_age = 86400\n")
    lines = bare.on_terminal("config").out.splitlines()
    assert lines[lines.index('max_age = "1d"') - 1] == f"# {path}:3"


def test_explain_of_an_unknown_option_names_the_nearest(bare):
    ran = bare.run("config", "explain", "maxage")
    assert (ran.code, ran.out) == (64, "")
    assert ran.err == "mailspool: maxage: there is no such option; max_age is the nearest\n"


def test_check_tells_every_fault_of_every_file(bare, drop_in):
    with bare.config.open("a") as file:
        file.write('max_hops = 0\nmax_age = "x"\ncool_down = 5 m\n')
    drop_in.write_text("max_hops = 5\nsmart_host = 'mx'\n")
    ran = bare.run("check")
    assert ran.code == 78
    assert [line.split(": ")[1:3] for line in ran.err.splitlines()] == [
        [f"{bare.config}:14", "cool_down"],
        [f"{bare.config}:12", "max_hops"],
        [f"{bare.config}:13", "max_age"],
        [f"{drop_in}:2", "smart_host"],
    ]


def test_check_tells_a_fault_that_a_later_layer_hides(house):
    house.config.write_text(house.config.read_text() + 'mail_name = "a b"\n')
    ran = house.run("check", "-o", "mail_name=a.example")
    assert (ran.code, ran.err) == (78, f"mailspool: {house.config}:12: mail_name: 'a b' is not a domain name\n")


def test_check_says_which_files_it_read(house, monkeypatch):
    (house.root / "conf.d").mkdir()
    (house.root / "conf.d" / "a.toml").write_text("max_hops = 3")
    monkeypatch.setenv("MAILSPOOL_MAX_HOPS", "4")
    assert house.run("check").out.startswith(f"ok: {house.config}, {house.root}/conf.d/a.toml, environment\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
@pytest.mark.parametrize("hidden", ["mailspool.toml", "spool"])
def test_check_by_who_may_not_look_is_no_fault_of_the_configuration(house, hidden):
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[1]); from mailspool.cli.admin import main\n"
        "import mailspool.cli.check, mailspool.cli.config, mailspool.supervisor.daemonize, tomllib\n"
        "import mailspool.config.complaint, mailspool.config.units, mailspool.model.target\n"
        "folder = os.open(sys.argv[2], os.O_PATH); os.chdir(folder); os.setuid(65534)\n"
        "sys.exit(main(['check', '-c', f'/proc/self/fd/{folder}/mailspool.toml']))"
    )
    house.config.write_text(house.config.read_text().replace(f"{house.root}/", "/proc/self/cwd/"))
    house.config.chmod(0o600 if hidden == "mailspool.toml" else 0o644)
    words = [sys.executable, "-c", code, Path(__file__).parents[2], house.root]
    ran = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ran.returncode == 77, ran.stderr
    assert hidden in ran.stderr

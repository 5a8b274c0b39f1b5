# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
import subprocess
import sys
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailspool.config import load as load_module
from mailspool.config.load import load, make
from mailspool.config.schema import Settings
from mailspool.errors import ConfigError


@pytest.fixture
def toml(tmp_path):
    def write(text):
        path = tmp_path / "mailspool.toml"
        path.write_text(text, "utf-8")
        return str(path)

    return write


def problems(*arguments, **properties):
    with pytest.raises(ConfigError) as caught:
        load(*arguments, environ={}, **properties)
    assert caught.value.exit_code == 78
    return list(caught.value.problems)


def test_without_a_file_every_option_has_its_default(monkeypatch, tmp_path):
    monkeypatch.setattr(load_module, "CONFIG_FILE", str(tmp_path / "none"))
    settings = load(environ={})
    assert settings.dequeue_timeout == 20
    assert settings == make()


def test_the_standard_file_is_read_if_it_exists(monkeypatch, toml):
    monkeypatch.setattr(load_module, "CONFIG_FILE", toml("cool_down = 1"))
    assert load(environ={}).cool_down == 1


def test_later_sources_win_over_earlier_ones(toml):
    path = toml("max_hops = 1\nmax_hosts = 1\nworker_nodes = 1\n")
    settings = load(path, ["max_hosts=2", "worker_nodes=2"], {}, worker_nodes=3)
    assert (settings.max_hops, settings.max_hosts, settings.worker_nodes) == (1, 2, 3)


def test_the_environment_names_the_file_and_an_argument_wins_over_it(toml, tmp_path):
    environ = {"MAILSPOOL_CONFIG": toml("cool_down = 5")}
    other = tmp_path / "other.toml"
    other.write_text("cool_down = 6")
    assert load(environ=environ).cool_down == 5
    assert load(str(other), environ=environ).cool_down == 6


def test_a_named_file_that_is_missing_is_an_error(tmp_path):
    missing = str(tmp_path / "missing.toml")
    assert problems(missing) == [f"{missing}: there is no such file"]


def test_a_file_that_cannot_be_read_is_an_error(tmp_path):
    assert "cannot be read" in problems(str(tmp_path))[0]
    (tmp_path / "latin").write_bytes(b'user = "\xe9"')
    assert "cannot be read" in problems(str(tmp_path / "latin"))[0]


@pytest.mark.parametrize(("text", "line"), [("tls = 'may'\n\ncool_down = = 3\n", 3), ("max_hops = 1\nroutes = [", 2)])
def test_a_fault_in_the_toml_is_told_with_its_line(toml, text, line):
    path = toml(text)
    assert problems(path)[0].startswith(f"{path}:{line}: ")


def test_all_faults_are_told_at_once_with_line_value_and_what_is_allowed(toml):
    path = toml(
        "# dequeue_timeout = 1\n"
        "dequeue_timout = 3\n"
        "max_dequeue_processes = 0\n"
        'hostname = "a b"\n'
        "cool_down = true\n"
        "tls = 'tls'\n"
        "\n"
        "[routes]\n"
        '"example.org" = "x:99999"\n'
    )
    assert sorted(problems(path, ["max_hops", "max_age=inf"], run_dir=7)) == sorted(
        [
            f"{path}:2: dequeue_timout: there is no such option; dequeue_timeout is the nearest",
            f"{path}:3: max_dequeue_processes: found 0; allowed: a whole number from 1 to 1000",
            f"{path}:4: hostname: 'a b' is not a domain name",
            f"{path}:5: cool_down: found True; allowed: a number of seconds from 0 on",
            f'{path}:6: tls: found \'tls\'; allowed: one of "encrypt", "may", "none", "verify"',
            f"{path}:9: routes.example.org: 'x:99999': a port is a number from 1 to 65535",
            "command line: max_hops: found nothing; allowed: a whole number from 1 on",
            "command line: max_age: found inf; allowed: a finite number",
            "argument: run_dir: found 7; allowed: a string",
        ]
    )


@pytest.mark.parametrize(
    ("properties", "name"),
    [
        ({"dequeue_periods": []}, "dequeue_periods"),
        ({"dequeue_periods": [0, 60]}, "dequeue_priority"),
        ({"dequeue_periods": [float("inf")], "dequeue_priority": [1]}, "dequeue_periods"),
        ({"dequeue_periods": [-1], "dequeue_priority": [1]}, "dequeue_periods"),
        ({"dequeue_priority": [0] * 7}, "dequeue_priority"),
        ({"dequeue_timeout": float("nan")}, "dequeue_timeout"),
        ({"dequeue_dir": "/a\nb"}, "dequeue_dir"),
        ({"run_dir": "/" + "r" * 80}, "run_dir"),
        ({"mail_name": "-"}, "mail_name"),
        ({"postmaster_address": "nobody"}, "postmaster_address"),
        ({"smarthost": "a b"}, "smarthost"),
        ({"smarthost": ["a:587", "b:0"]}, "smarthost"),
        ({"smarthost": 25}, "smarthost"),
        ({"routes": {"a b": "mx"}}, "routes.a b"),
        ({"routes": {"example.org": ["mx", "b:0"]}}, "routes.example.org"),
        ({"routes": {"example.org": []}}, "routes.example.org"),
        ({"nameservers": ["localhost"]}, "nameservers"),
    ],
)
def test_values_that_make_no_sense_are_refused(properties, name):
    with pytest.raises(ConfigError) as caught:
        make(**properties)
    assert any(f" {name}: " in problem for problem in caught.value.problems), caught.value.problems


def test_what_only_the_machine_can_tell_is_filled_in_once():
    settings = make(hostname="web.example.org", mail_name="example.org", dequeue_dir="/srv/spool")
    assert settings.postmaster_address == "postmaster@example.org"
    assert settings.usage_log == "/srv/spool/usage"
    assert make().hostname


def test_a_program_may_name_its_directories_relative_to_where_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert make(dequeue_dir="spool").dequeue_dir == str(tmp_path / "spool")


def test_a_file_may_not_since_a_daemon_would_look_elsewhere(toml):
    assert "absolute path" in problems(toml('dequeue_dir = "spool"'))[0]


def test_an_override_is_toml_and_a_bare_word_a_string():
    overrides = ["tls=verify", 'hostname="a.example"', "dequeue_periods=[0, 60]", "dequeue_priority=[1, 2]"]
    overrides += ["smarthost=mx.example.net:587", "nameservers=['192.0.2.53']", "routes={'*' = 'mx'}"]
    settings = load(None, overrides, {})
    assert (settings.tls, settings.hostname, settings.dequeue_periods) == ("verify", "a.example", (0, 60))
    assert (settings.smarthost, settings.nameservers) == ("mx.example.net:587", ("192.0.2.53",))
    assert settings.routes == {"*": "mx"}


def test_a_smarthost_and_a_route_may_be_lists(toml):
    settings = load(toml('smarthost = ["a:587", "smtps://b"]\nroutes."x.example" = ["c", "mx"]\n'), environ={})
    assert settings.smarthost == ("a:587", "smtps://b")
    assert settings.routes == {"x.example": ("c", "mx")}


def test_routes_keep_their_order(toml):
    path = toml('routes."b.example" = "mx"\nroutes."a.example" = "mx"\nroutes."*" = "mx"\n')
    assert list(load(path, environ={}).routes) == ["b.example", "a.example", "*"]


@given(st.text(max_size=40))
def test_any_text_as_an_override_is_taken_or_refused_as_a_configuration_error(text):
    with suppress(ConfigError):
        assert isinstance(load(None, [text], {}), Settings)


def test_sendmail_does_not_pay_for_what_only_complaints_need():
    code = (
        "import sys; bare = {*sys.modules}; import mailspool.config.load as m; m.make(); print(*{*sys.modules} - bare)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"difflib", "tomllib", "idna", "structlog", "socket", "mailspool.config.explain"} & set(loaded)

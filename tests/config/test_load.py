# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
import os
import subprocess
import sys
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailspool.config import layers as layers_module
from mailspool.config.load import load, make
from mailspool.config.schema import Settings
from mailspool.errors import ConfigError
from mailspool.model.limit import Limit

DURATION = 'a duration such as "1h30m", or a number of seconds,'
SIZE = 'a size such as "10 MB" or "10 MiB", or a number of octets,'
TARGETS = "a string, or a list, each of it a string"
TLS = 'one of "encrypt", "may", "none", "verify"'
QUOTES = 'A name with dots stands in quotes: routes."example.org"'


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
    monkeypatch.setattr(layers_module, "CONFIG_FILE", str(tmp_path / "none"))
    settings = load(environ={})
    assert settings.dequeue_timeout == 20
    assert settings == make()


def test_the_standard_file_is_read_if_it_exists(monkeypatch, toml):
    monkeypatch.setattr(layers_module, "CONFIG_FILE", toml("cool_down = 1"))
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
            f"{path}:5: cool_down: found true; allowed: {DURATION} from 0 on",
            f'{path}:6: tls: found "tls"; allowed: one of "encrypt", "may", "none", "verify"',
            f"{path}:9: routes.example.org: 'x:99999': a port is a number from 1 to 65535",
            "command line: max_hops: a value is missing: max_hops=VALUE; allowed: a whole number from 1 on",
            "command line: max_age: found inf; allowed: a finite number",
            "argument: run_dir: found 7; allowed: a string",
        ]
    )


@pytest.mark.parametrize(
    ("properties", "name"),
    [
        ({"dequeue_periods": []}, "dequeue_periods"),
        ({"dequeue_periods": [0, 60]}, "dequeue_periods"),
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


# --- conf.d


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('small_first = "yes"', 'small_first: found "yes"; allowed: true or false'),
        ("unproven_share = 0", "unproven_share: found 0; allowed: a number over 0, up to 1"),
        ("unproven_share = 1.5", "unproven_share: found 1.5; allowed: a number over 0, up to 1"),
    ],
)
def test_of_a_switch_and_of_a_share_it_is_told_what_may_be_written(toml, text, fault):
    path = toml(text)
    assert problems(path) == [f"{path}:1: {fault}"]


@pytest.fixture
def drop_in(tmp_path):
    """write(name, text): a file of conf.d, beside what `toml` writes."""

    def write(name, text):
        path = tmp_path / "conf.d" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
        return str(path)

    return write


def test_files_of_conf_d_win_over_the_file_beside_it_in_the_order_of_their_names(toml, drop_in):
    drop_in("20-b.toml", "max_hops = 20\nmax_hosts = 20")
    drop_in("10-a.toml", "max_hops = 10\nworker_nodes = 10")
    settings = load(toml("max_hops = 1\ncool_down = 1"), environ={})
    assert (settings.max_hops, settings.max_hosts, settings.worker_nodes, settings.cool_down) == (20, 20, 10, 1)


def test_files_of_conf_d_count_where_the_standard_file_is_not_there(monkeypatch, tmp_path, drop_in):
    monkeypatch.setattr(layers_module, "CONFIG_FILE", str(tmp_path / "mailspool.toml"))
    drop_in("a.toml", "max_hops = 3")
    assert load(environ={}).max_hops == 3


def test_only_names_that_end_in_toml_count_and_no_hidden_ones(toml, drop_in):
    for name in ("a.toml~", "a.toml.dpkg-old", ".a.toml", "README"):
        drop_in(name, "max_hops = 3")
    assert load(toml(""), environ={}).max_hops == make().max_hops


def test_what_others_could_have_put_into_conf_d_is_not_read_and_said(toml, drop_in, tmp_path):
    drop_in("a.toml", "max_hops = 3")
    (tmp_path / "conf.d").chmod(0o777)
    (problem,) = problems(toml(""))
    assert problem.startswith(f"{tmp_path}/conf.d: not read: it must belong to root or to the owner of {tmp_path}")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_conf_d_of_somebody_else_is_not_read(toml, drop_in, tmp_path):
    drop_in("a.toml", "max_hops = 3")
    os.chown(tmp_path / "conf.d", 12345, -1)
    assert "not read" in problems(toml(""))[0]


def test_tables_are_merged_key_by_key_between_all_layers(toml, drop_in):
    path = toml("[routes]\n'a.example' = 'a'\n'b.example' = 'a'\n")
    drop_in("x.toml", "routes.'b.example' = 'b'\nroutes.'c.example' = 'b'")
    overrides = ["routes.c.example=c", 'routes."d.example" = c', "routes={'e.example' = 'c'}"]
    environ = {"MAILSPOOL_ROUTES": "{'f.example' = 'f', 'e.example' = 'f'}"}
    routes = load(path, overrides, environ, routes={"g.example": "g"}).routes
    assert routes == {f"{key}.example": value for key, value in zip("abcdefg", "abcccfg", strict=True)}


def test_faults_of_all_files_are_told_even_of_values_that_later_ones_hide(toml, drop_in):
    path = toml('max_hops = "x"\nhostname = "a b"\ncool_down = 5')
    first = drop_in("a.toml", "max_hops = 0\ncool_dawn = 5")
    second = drop_in("b.toml", "max_hops = 1\nhostname = 'a.example'\ntls = may\n")
    assert problems(path) == [
        f"{second}:3: tls: found may, which is no TOML (Invalid value; text stands in quotes); allowed: {TLS}",
        f'{path}:1: max_hops: found "x"; allowed: a whole number from 1 on',
        f"{path}:2: hostname: 'a b' is not a domain name",
        f"{first}:1: max_hops: found 0; allowed: a whole number from 1 on",
        f"{first}:2: cool_dawn: there is no such option; cool_down is the nearest",
    ]


# --- the environment


def test_the_environment_wins_over_files_and_the_command_line_over_the_environment(toml):
    environ = {"MAILSPOOL_MAX_HOPS": "2", "MAILSPOOL_MAX_HOSTS": "2", "MAILSPOOL_TLS": "verify", "PATH": "/bin"}
    settings = load(toml("max_hops = 1\nmax_hosts = 1"), ["max_hosts=3"], environ)
    assert (settings.max_hops, settings.max_hosts, settings.tls) == (2, 3, "verify")


def test_a_variable_is_written_as_in_toml_and_else_a_string():
    environ = {
        "MAILSPOOL_SMARTHOST": "mx.example.net:587",
        "MAILSPOOL_MAX_AGE": "2d",
        "MAILSPOOL_NAMESERVERS": '["192.0.2.1"]',
    }
    settings = make_from(environ)
    assert (settings.smarthost, settings.max_age, settings.nameservers) == (
        "mx.example.net:587",
        172800,
        ("192.0.2.1",),
    )


def make_from(environ):
    return load(os.devnull, environ=environ)


def test_an_unknown_variable_is_refused_and_the_nearest_right_one_named():
    with pytest.raises(ConfigError) as caught:
        make_from({"MAILSPOOL_MAXAGE": "1d", "MAILSPOOL_CONF": "/x", "MAILSPOOL_TLS": "on", "MAILSPOOL_X": ""})
    assert set(caught.value.problems) == {
        "environment: MAILSPOOL_MAXAGE: there is no such option; MAILSPOOL_MAX_AGE is the nearest",
        "environment: MAILSPOOL_CONF: there is no such option; MAILSPOOL_CONFIG is the nearest",
        "environment: MAILSPOOL_X: there is no such option",
        'environment: MAILSPOOL_TLS: found "on"; allowed: one of "encrypt", "may", "none", "verify"',
    }


@pytest.mark.parametrize("name", ["REQUIRE_PEERS", "BENCH_FOLDER", "SERVICE_HOST", "PORT", "PORT_25_TCP_ADDR"])
def test_variables_of_the_tests_and_of_kubernetes_are_no_options(name):
    assert make_from({f"MAILSPOOL_{name}": "tcp://192.0.2.1:25"}) == make()


def test_a_program_that_gives_all_settings_itself_is_not_touched_by_the_environment(monkeypatch):
    monkeypatch.setenv("MAILSPOOL_MAX_HOPS", "2")
    assert make().max_hops == 50


# --- durations and sizes


def test_durations_and_sizes_in_words_are_taken_wherever_an_option_counts_them(toml):
    path = toml('dequeue_periods = ["0s", "1h30m", 60]\ndequeue_priority = [1, 1, 1]\nbounce_size_limit = "10 KiB"')
    settings = load(path, ["max_age=5d"], {"MAILSPOOL_MIN_RATE": "4k"}, cool_down="90", max_message_size="10 MB")
    assert settings.dequeue_periods == (0, 5400, 60)
    assert (settings.max_age, settings.cool_down) == (432000, 90)
    assert (settings.bounce_size_limit, settings.min_rate, settings.max_message_size) == (10240, 4096, 10**7)


def test_a_duration_that_is_none_is_told_as_it_was_written(toml):
    path = toml('max_age = "5 days"\nmax_hops = "5"\nmax_message_size = "-1"\ndequeue_timeout = "0s"')
    assert problems(path) == [
        f'{path}:1: max_age: found "5 days"; allowed: {DURATION} from 0 on',
        f'{path}:2: max_hops: found "5"; allowed: a whole number from 1 on',
        f'{path}:3: max_message_size: found "-1"; allowed: {SIZE} from 0 on',
        f'{path}:4: dequeue_timeout: found "0s"; allowed: {DURATION} over 0',
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("dequeue_priority = [1]", "dequeue_priority: found 1 numbers; allowed: as many as in dequeue_periods"),
        ("dequeue_periods = [0]", "dequeue_periods: found 1 numbers; allowed: as many as in dequeue_priority"),
        ("dequeue_periods = [0]\ndequeue_priority = [1, 2]", "dequeue_priority: found 2 numbers; allowed: "),
    ],
)
def test_lists_that_do_not_fit_each_other_are_the_fault_of_the_one_that_is_set(toml, text, fault):
    path = toml(f"max_age = 1\n{text}")
    (problem,) = problems(path)
    assert problem.startswith(f"{path}:{text.count(chr(10)) + 2}: {fault}")


def test_of_lists_that_do_not_fit_the_one_that_was_set_last_is_at_fault(toml):
    path = toml("dequeue_periods = [0]\ndequeue_priority = [1]")
    (problem,) = problems(path, ["dequeue_periods=[0, 60]"])
    assert problem.startswith("command line: dequeue_periods: found 2 numbers; allowed: as many as in dequeue_priority")


def test_a_user_s_name_has_no_control_character(toml):
    assert [problem.partition(": ")[2][:6] for problem in problems(toml('user = "a\\u0000"'))] == ["user: "]


# --- complaints about tables and files


def test_a_table_of_limits_may_be_written_in_one_line_or_as_a_table_of_its_own(toml):
    path = toml('limits."a.example" = { concurrency = 2 }\n[limits."mx:*.b.example"]\nmessages_per_minute = 30\n')
    assert load(path, ["limits.c.example={messages_per_connection=5}"], {}).limits == {
        "a.example": Limit(concurrency=2),
        "mx:*.b.example": Limit(messages_per_minute=30),
        "c.example": Limit(messages_per_connection=5),
    }


def test_what_is_wrong_with_a_limit_is_told_with_its_name_and_what_is_allowed(toml):
    text = """
[limits."a.example"]
concurency = 2
[limits]
"mx:a b" = { concurrency = 2 }
"b.example" = { messages_per_minute = "many" }
c = 5
d.example = { concurrency = 2 }
max_hops = 5
"*.e.example" = { concurrency = 2 }
".e.example" = { concurrency = 2 }
"""
    path = toml(text)
    each = "concurrency, messages_per_minute, messages_per_connection, each a whole number from 0 on"
    found = problems(path)
    told = [
        f"{path}:2: limits.a.example: concurency: there is no such option; concurrency is the nearest",
        f"{path}:5: limits.mx:a b: 'mx:a b' is none of: mx:mx.example.org, mx:*.example.org, mx:192.0.2.1, mx:*",
        f'{path}:6: limits.b.example: messages_per_minute: found "many"; allowed: a whole number from 0 on',
        f"{path}:7: limits.c: found 5; allowed: a table of {each}",
        f"{path}:8: limits.d: example: there is no such option. {QUOTES.replace('routes', 'limits')}",
        f"{path}:9: limits.max_hops: is an option of its own: put it above the line [limits]",
        f"{path}:11: limits..e.example: is the same as limits.*.e.example",
    ]
    assert sorted(found) == sorted(told)


def test_an_option_below_a_table_is_told_where_it_belongs(toml):
    path = toml('[routes]\n"a.example" = "mx"\nmax_hops = 3\ntls = "may"\nexample.org = "mx"\nb = 1\n')
    assert problems(path) == [
        f"{path}:3: routes.max_hops: is an option of its own: put it above the line [routes]",
        f"{path}:5: routes.example: found a table; allowed: {TARGETS}. {QUOTES}",
        f"{path}:6: routes.b: found 1; allowed: {TARGETS}",
        f"{path}:4: routes.tls: is an option of its own: put it above the line [routes]",
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_a_file_that_may_not_be_read_is_a_fault_of_permission_and_no_wrong_configuration(toml, tmp_path):
    path = toml("max_hops = 3")
    os.chmod(path, 0o600)
    code = (
        "import os, sys; from mailspool.config.load import load; from mailspool.errors import ConfigForbidden\n"
        "import mailspool.config.complaint; folder = os.open(sys.argv[1], os.O_PATH); os.setuid(65534)\n"
        "try: load(f'/proc/self/fd/{folder}/mailspool.toml')\n"
        "except ConfigForbidden as error: print(error.exit_code, error)"
    )
    ran = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("77 ")
    assert "cannot be read as uid 65534: Permission denied" in ran.stdout


@given(st.text(max_size=40))
def test_any_text_as_an_override_is_taken_or_refused_as_a_configuration_error(text):
    with suppress(ConfigError):
        assert isinstance(load(None, [text], {}), Settings)


def test_sendmail_does_not_pay_for_what_only_complaints_need():
    code = (
        "import sys; bare = {*sys.modules}; import mailspool.config.load as m; m.make(); print(*{*sys.modules} - bare)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {
        "difflib",
        "tomllib",
        "idna",
        "structlog",
        "socket",
        "mailspool.config.explain",
        "mailspool.config.units",
    } & set(loaded)

# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The file with the passwords: what stands in it, and that nobody else can read it."""

import grp
import os
from contextlib import suppress
from importlib import import_module

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailspool.config import credentials as credentials_module
from mailspool.config.credentials import Reader, daemon_reader, read_credentials
from mailspool.errors import ConfigError
from mailspool.model.credentials import Credentials

ME = Reader(os.geteuid(), os.getegid())
SECRET = "tan staaf"


@pytest.fixture
def write(tmp_path):
    def make(text, mode=0o600):
        path = tmp_path / "credentials"
        path.write_text(text, "utf-8")
        path.chmod(mode)
        return str(path)

    return make


def problems(path, reader=ME):
    with pytest.raises(ConfigError) as caught:
        read_credentials(path, reader)
    assert caught.value.exit_code == 78
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value.__context__)
    return list(caught.value.problems)


def test_each_host_has_its_own_and_the_port_counts_where_one_is_named(write):
    keys = read_credentials(
        write(
            '["Smtp.Example.NET:587"]\nuser = "joe"\npassword = "one"\n'
            '["smtp.example.net"]\nuser = "ann"\npassword = "two"\ntls = "encrypt"\n'
            '["[2001:DB8::1]:25"]\nuser = "bob"\npassword = "three"\ntls = "may"\n'
        ),
        ME,
    )
    assert keys.find("smtp.example.net", 587) == Credentials(user="joe", password="one", tls="verify")
    assert keys.find("smtp.example.net", 25) == Credentials(user="ann", password="two", tls="encrypt")
    assert keys.find("2001:db8::1", 25) == Credentials(user="bob", password="three", tls="may")
    assert keys.find("2001:db8::1", 26) is None
    assert keys.find("other.example", 587) is None


def test_only_the_default_file_may_be_missing(tmp_path, monkeypatch):
    missing = str(tmp_path / "none")
    assert problems(missing) == [f"credentials_file: there is no file {missing}: make one, or set credentials_file"]
    monkeypatch.setattr(credentials_module, "CREDENTIALS_FILE", missing)
    assert read_credentials(missing, ME).find("any.example", 25) is None


def test_all_faults_are_told_with_their_lines_and_without_any_value(write):
    path = write(
        f'["a b"]\nuser = "joe"\npassword = "{SECRET}"\n'
        f'\n["one.example"]\nuser = "joe"\npasword = "{SECRET}"\n'
        f'["two.example"]\nuser = "joe\\n"\npassword = "{SECRET}"\n'
        f'["three.example:587"]\nuser = ""\npassword = ""\n'
        f'["four.example:0"]\nuser = "joe"\npassword = "{SECRET}"\n'
        f'["five.example"]\nuser = "joe"\npassword = "{SECRET}"\ntls = "no"\n'
        f'["six.example"]\nuser = 7\npassword = "{SECRET}"\n'
    )
    lines = dict(problem.split(": ", 1) for problem in problems(path))
    assert list(lines) == [f"{path}:{number}" for number in (1, 5, 8, 11, 14, 17, 21)]
    assert "one.example: " in lines[f"{path}:5"]
    assert lines[f"{path}:5"].endswith("there is no pasword; allowed: user, password, tls")
    assert "user must not be empty" in lines[f"{path}:8"]
    assert "user and password" in lines[f"{path}:11"]


@pytest.mark.parametrize(
    ("text", "line"), [(f"x = {SECRET}", 1), (f'["a"]\npassword = "{SECRET}', 2), ('user = "joe"\n', 1)]
)
def test_what_is_no_table_of_tables_is_told_with_its_line(write, text, line):
    path = write(text)
    assert problems(path)[0].startswith(f"{path}:{line}: ")


def test_a_host_s_name_without_quotes_is_told_as_such(write):
    path = write(f'[smtp.example.net]\nuser = "joe"\npassword = "{SECRET}"\n')
    assert problems(path) == [f'{path}:1: smtp: quotes are missing around the host\'s name: ["smtp.example.net"]']


def test_what_is_not_in_utf8_is_refused(tmp_path):
    (tmp_path / "latin").touch(0o600)
    (tmp_path / "latin").write_bytes(b'["a"]\nuser="\xe9"')
    assert "UTF-8" in problems(str(tmp_path / "latin"))[0]


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o601, 0o620, 0o610, 0o644, 0o660, 0o666, 0o777])
def test_a_file_that_others_can_read_or_change_is_refused_with_the_remedy(write, mode):
    path = write("", mode)
    (problem,) = problems(path)
    assert f"others can read or change it (mode {mode:04o}" in problem
    group = grp.getgrgid(ME.gid).gr_name
    assert problem.endswith(f"group {group}): chown root:{group} {path} && chmod 0640 {path}")


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o440, 0o640])
def test_its_owner_and_his_own_group_may_read_it(write, mode):
    read_credentials(write("", mode), ME)


def test_a_group_that_is_not_the_daemons_own_may_not(write):
    path = write("", 0o640)
    assert "others can read" in problems(path, Reader(ME.uid, ME.gid + 1))[0]
    read_credentials(write("", 0o600), Reader(ME.uid, ME.gid + 1))


def test_where_nobody_knows_who_will_read_it_only_what_is_wrong_for_everybody_is_told(write):
    path = write("", 0o640)
    read_credentials(path, None)
    path = write("", 0o644)
    assert problems(path, None)[0].endswith(f": chmod 0640 {path}")


def test_a_directory_is_refused(tmp_path):
    assert "cannot be read" in problems(str(tmp_path))[0]


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@needs_root
def test_a_file_of_root_is_read_through_the_group_only(write):
    path = write("", 0o600)
    assert "the daemon (4711) cannot read it" in problems(path, Reader(4711, 4712))[0]
    os.chown(path, 0, 4712)
    os.chmod(path, 0o640)
    read_credentials(path, Reader(4711, 4712))


@needs_root
def test_a_file_of_somebody_else_is_refused(write):
    path = write("", 0o600)
    os.chown(path, 4713, 4712)
    assert "it belongs to 4713" in problems(path, Reader(4711, 4712))[0]


@needs_root
def test_a_user_with_a_spool_of_his_own_is_not_told_to_take_the_passwords_of_the_host(public_path):
    import_module("mailspool.supervisor.places")  # not every Python can be read by him
    path = public_path / "credentials"
    path.touch(0o600)
    os.seteuid(2)
    try:
        (problem,) = problems(str(path), Reader(2, 2))
    finally:
        os.seteuid(0)
    assert problem == (
        f'credentials_file: {path}: bin cannot read it: set credentials_file to a file that bin can read, or to "" for '
        f"none; if it is meant for bin: chown root:bin {path} && chmod 0640 {path}"
    )


@needs_root
def test_root_asks_for_whom_it_will_become():
    assert daemon_reader("nobody").uid == 65534
    assert daemon_reader("there-is-no-such-user") == Reader(0, 0)


@given(st.text())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_read_or_refused_as_a_configuration_error(write, text):
    with suppress(ConfigError):
        read_credentials(write(text.replace("\r", "")), ME)

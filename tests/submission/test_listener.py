# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Handing mail over to the running daemon: who may, what it costs others, and what happens when somebody dies."""

import contextlib
import errno
import os
import pwd
import signal
import site
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mailspool.config.load import make
from mailspool.model.envelope import Recipient
from mailspool.spool import Spool
from mailspool.submission import client, listener
from tests.running import ENVIRONMENT, ROOT, children_of, eventually, is_running, title_of

pytestmark = pytest.mark.filterwarnings("error")
OWNER, USER, OTHER = pwd.getpwuid(1), pwd.getpwuid(2), pwd.getpwuid(3)  # daemon, bin and sys: on every Debian
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")


@pytest.fixture
def tmp_path(public_path):
    """Where the daemon's user and all others get to."""
    return public_path


@pytest.fixture
def place(properties, tmp_path):
    """Where everybody may look, with an alias for root."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run").chmod(0o711)
    (tmp_path / "aliases").write_text("root: admin@example.org\n")
    (tmp_path / "aliases").chmod(0o644)
    return tmp_path


@pytest.fixture
def running(daemon, place):
    """The daemon, which tries nothing before an hour is over: what moves may be in no list."""
    one = daemon(aliases_file=str(place / "aliases"), dequeue_periods=[3600.0], dequeue_priority=[1])
    eventually(lambda: listeners(one))
    return one


@pytest.fixture
def spool(properties, place):
    return Spool(make(**properties(aliases_file=str(place / "aliases"))))


def listeners(running):
    return [each["pid"] for each in running.status()["services"] if each["role"] == "listener"]


def environment(run_dir, **more):
    return {"PATH": os.environ["PATH"], "PYTHONPATH": ENVIRONMENT["PYTHONPATH"], "MAILSPOOL_RUN_DIR": run_dir, **more}


def call(running, *arguments, text=b"Subject: x\n\nx\n", name="sendmail", **more):
    return subprocess.run(
        [sys.executable, str(ROOT / "bin" / name), *arguments],
        input=text, capture_output=True, timeout=60, check=False, env=environment(running.run_dir, **more),
    )  # fmt: skip


def messages(spool):
    """(envelope, text) of each message, by arrival."""
    found = {}
    for location in list(spool.store.locations()):
        with contextlib.suppress(Exception):
            stored = spool.store.open(location)
            with stored.file:
                found[stored.envelope.id] = (stored.envelope, stored.file.read().decode())
    return sorted(found.values(), key=lambda each: each[0].arrival)


def addresses(envelope):
    return [recipient.address for recipient in envelope.recipients]


# --- what is taken


def test_a_message_is_taken_with_its_command_line_and_its_user(running, spool):
    done = call(running, "-v", "-FCron Daemon", "-i", "-N", "success", "-R", "hdrs", "-V", "e", "root", "a@x.example")
    assert (done.returncode, done.stdout) == (0, b"")
    ((envelope, text),) = messages(spool)
    assert done.stderr.decode() == f"sendmail: accepted as {envelope.id}\n"
    assert addresses(envelope) == ["admin@example.org", "a@x.example"]
    assert (envelope.ret, envelope.envid, envelope.recipients[0].notify) == ("HDRS", "e", ("SUCCESS",))
    me = pwd.getpwuid(os.getuid()).pw_name
    assert (envelope.sender, envelope.user) == (f"{me}@mail.test", me)
    assert f"From: Cron Daemon <{me}@mail.test>\r\n" in text
    assert f"from userid {os.getuid()}/{me}" in text


def test_the_environments_name_is_the_full_name(running, spool):
    assert call(running, "a@x.example", NAME="Jane Doe").returncode == 0
    assert call(running, "a@x.example", NAME="Jane\nBcc: x@y").returncode == 0
    (_, first), (_, second) = messages(spool)
    assert "From: Jane Doe <" in first
    assert "Bcc" not in second


def test_headers_bcc_and_dots_mean_what_they_do_without_the_daemon(running, spool):
    done = call(running, "-t", text=b"To: root\nBcc: b@x.example\n\n..\n.\nnot this\n")
    assert (done.returncode, done.stderr) == (0, b"")
    ((envelope, text),) = messages(spool)
    assert addresses(envelope) == ["admin@example.org", "b@x.example"]
    assert "Bcc" not in text
    assert text.endswith("\r\n\r\n..\r\n")


def test_what_stands_behind_a_lone_dot_is_not_waited_for(running, spool):
    command = [sys.executable, str(ROOT / "bin/sendmail"), "a@x.example"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment(running.run_dir)) as process:
        process.stdin.write(b"Subject: x\n\nx\n.\n")
        process.stdin.flush()
        assert process.wait(60) == 0
    assert len(messages(spool)) == 1


def test_a_large_message_arrives_whole(running, spool):
    text = b"A: b\n\n" + b"0123456789abcde\n" * 300_000
    assert len(text) > 2 * client.IN_MEMORY
    assert call(running, "-i", "a@x.example", text=text).returncode == 0
    ((_, stored),) = messages(spool)
    assert stored.partition("\r\n\r\n")[2].encode() == text.partition(b"\n\n")[2].replace(b"\n", b"\r\n")


def test_a_large_message_stays_in_memory_where_the_disk_has_no_room_for_it(tmp_path, monkeypatch):
    text = b"0123456789abcde\n" * 300_000
    (tmp_path / "message").write_bytes(text)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("posix.sendfile", full)
    before = set(os.listdir("/proc/self/fd"))
    with (tmp_path / "message").open("rb") as reader:
        file = client.collect(reader.fileno(), until_dot=False)
    with os.fdopen(file, "rb") as collected:
        assert collected.read() == text
    assert set(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["nobody-such"], 67, "add 'nobody-such: you@example.org' to"),
        (["a@@b"], 65, "a@@b"),
        (["-N", "maybe", "a@b"], 64, "NOTIFY"),
        (["-t"], 64, "no recipient"),
    ],
)
def test_what_is_refused_is_refused_with_its_code_and_its_words(running, spool, arguments, code, says):
    done = call(running, *arguments)
    assert done.returncode == code
    assert says in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1
    assert messages(spool) == []


def test_an_alias_that_leads_nowhere_is_told_in_the_log_too_for_who_hands_mail_in_cannot_mend_it(running, place):
    (place / "aliases").write_text("root: root2\nroot2: root\n")
    refused = call(running, "root")
    assert (refused.returncode, b"leads back to itself" in refused.stderr) == (75, True)
    (line,) = eventually(lambda: [line for line in running.log.splitlines() if "not accepted" in line])
    assert "leads back to itself" in line
    assert " user=root" in line or os.geteuid()


def test_nothing_is_imported_that_costs_time(running, spool):
    code = "import sys; from mailspool.cli.sendmail import main; c = main(['sendmail', 'a@x.example']); "
    code += "print(c, *sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], input=b"x\n", capture_output=True, timeout=60, check=True,
        env=environment(running.run_dir),
    )  # fmt: skip
    code, *loaded = done.stdout.decode().split()
    assert code == "0"
    assert not {*loaded} & {
        *("site", "os", "re", "typing", "collections", "socket", "contextlib", "enum", "functools"),
        "mailspool.errors",
    }
    assert len(messages(spool)) == 1


@pytest.mark.parametrize("line", ["-i -t", "-t -i -fbounce@x.example", "-oem -oi -f x@y.example -- a@x.example", "-ti"])
def test_programs_hand_their_mail_over_in_their_own_words(running, spool, line):
    assert call(running, *line.split(), text=b"To: a@x.example\nSubject: x\n\nx\n").returncode == 0
    ((envelope, _),) = messages(spool)
    assert addresses(envelope) == ["a@x.example"]


# --- who may


def user_python():
    """A Python that other users can run, with the modules of this one; "" if there is none."""
    path = os.pathsep.join([str(ROOT), *site.getsitepackages()])
    for python in sys.executable, "/usr/bin/python3":
        with contextlib.suppress(OSError):
            command = [python, "-c", "import msgspec, dns, daemon, mailspool.spool"]
            env = {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
            if not subprocess.run(command, user=USER.pw_uid, check=False, cwd="/", env=env, stderr=-3).returncode:
                return python, path
    return "", path


@pytest.fixture
def system(daemon, place, request):
    """call(uid, …) is sendmail of another user; the daemon belongs to a third. param: seconds until it tries."""
    python, path = user_python()
    if not python:
        pytest.skip("nobody but root can run this Python")
    for name in ("spool", "run"):
        (place / name).mkdir(exist_ok=True)
        os.chown(place / name, OWNER.pw_uid, OWNER.pw_gid)
    (place / "spool").chmod(0o700)
    one = daemon(
        user=OWNER.pw_name, aliases_file=str(place / "aliases"), dequeue_timeout=3600.0,
        dequeue_periods=[getattr(request, "param", 3600.0), 3600.0], dequeue_priority=[1, 1],
        command=[
            *("env", f"PYTHONPATH={path}", python, str(ROOT / "bin/mailspoold")),
            *("-f", "-c", str(place / "mailspool.toml")),
        ],
    )  # fmt: skip
    (place / "mailspool.toml").chmod(0o644)
    eventually(lambda: listeners(one))

    def as_user(*arguments, uid=USER.pw_uid, text=b"x\n", code=None, **more):
        program = ["-c", code] if code else [str(ROOT / "bin/sendmail")]
        return subprocess.run(
            [python, *program, *arguments], input=text, capture_output=True, timeout=60, check=False,
            user=uid, group=uid,
            extra_groups=[], cwd="/", env={"PYTHONPATH": path, "MAILSPOOL_RUN_DIR": one.run_dir, **more},
        )  # fmt: skip

    one.call = as_user
    return one


@ROOT_ONLY
def test_an_ordinary_user_hands_mail_in_and_the_spool_stays_its_owners(system, spool):
    done = system.call("-FCronDaemon", "-i", "-B8BITMIME", "-oem", "root")
    assert (done.returncode, done.stderr) == (0, b"")
    ((envelope, text),) = messages(spool)
    assert (envelope.sender, envelope.user) == (f"{USER.pw_name}@mail.test", USER.pw_name)
    assert f"from userid {USER.pw_uid}/{USER.pw_name}" in text
    (location, *_) = spool.store.locations()
    assert os.stat(spool.store.path(location)).st_uid == OWNER.pw_uid
    assert os.stat(spool.settings.dequeue_dir).st_mode & 0o777 == 0o700


@ROOT_ONLY
def test_an_ordinary_user_sees_the_own_part_of_the_queue_and_root_all_of_it(system, spool, place):
    config = {"MAILSPOOL_CONFIG": str(place / "mailspool.toml")}
    assert system.call("-bp", **config).stdout == b"Mail queue is empty\n"
    assert system.call("mine@x.example", "too@x.example").returncode == 0
    assert system.call("-fmine@x.example", "other@x.example", uid=OTHER.pw_uid).returncode == 0
    (mine, _), (other, _) = messages(spool)
    seen = system.call("-bp", **config)
    assert (seen.returncode, seen.stderr) == (0, b"")
    lines = seen.stdout.decode().splitlines()
    assert [line.split()[0] for line in lines[3:]] == [mine.id, ".0", ".1", "--"]
    assert lines[4].split() == [".0", "tier", "0", "mine@x.example"]
    assert lines[-1].endswith(" in 1 Request, 2 nodes.")
    theirs = system.call("-bp", uid=OTHER.pw_uid, **config).stdout.decode()
    assert other.id in theirs
    assert mine.id not in theirs
    for uid in 0, OWNER.pw_uid:
        all_of_it = system.call("-bp", uid=uid, **config).stdout.decode()
        assert mine.id in all_of_it
        assert other.id in all_of_it


@ROOT_ONLY
def test_an_ordinary_user_reaches_nothing_else_of_the_daemon(system):
    code = (
        "import os, socket, sys\nd = os.environ['MAILSPOOL_RUN_DIR']\nfor n in ('control', 'trigger', 'pid', 'lock'):\n"
    )
    code += "  for open_it in (lambda: os.open(f'{d}/{n}', os.O_WRONLY), lambda: os.open(f'{d}/{n}', os.O_RDONLY),\n"
    code += "                  lambda: socket.socket(socket.AF_UNIX).connect(f'{d}/{n}')):\n"
    code += "    try: open_it(); print('reached', n)\n    except OSError: pass\n"
    code += "try: os.listdir(d); print('listed')\nexcept PermissionError: print('end')"
    done = system.call(code=code)
    assert (done.stdout, done.stderr) == (b"end\n", b"")


@ROOT_ONLY
def test_an_ordinary_users_configuration_and_files_never_reach_the_daemon(system, place, spool):
    secret = place / "secret"
    secret.write_text("root: |secret\n")
    secret.chmod(0o600)
    done = system.call("-C", str(secret), "a@x.example")
    assert done.returncode == 75
    assert b"secret" in done.stderr
    assert b"|secret" not in done.stderr
    words = ["", "sendmail", "-C", str(secret), "a@x.example"]
    file = os.memfd_create("x")
    refused = client.hand_over(system.run_dir, words, file)
    assert (refused.code, messages(spool)) == (64, [])
    assert client.hand_over(system.run_dir, ["", "sendmail", "-bp", "-C", str(secret)], file).code == 64


@ROOT_ONLY
def test_a_program_that_may_not_write_the_spool_sends_through_the_listener(system, spool, place):
    code = "import sys; from mailspool import Spool; s = Spool(); print(s.send_mail(to=['a@x.example', 'root'],"
    code += " from_='f@y.example', message='Subject: x\\n\\nx\\n', notify=['never']))"
    done = system.call(code=code, MAILSPOOL_CONFIG=str(place / "mailspool.toml"))
    assert done.stderr == b""
    ((envelope, _),) = messages(spool)
    assert done.stdout.decode().strip() == envelope.id
    assert (envelope.sender, addresses(envelope)) == ("f@y.example", ["a@x.example", "admin@example.org"])
    assert envelope.recipients[0].notify == ("NEVER",)


@ROOT_ONLY
def test_each_recipient_s_own_wishes_come_along_through_the_listener(system, spool, place):
    code = "from mailspool import Spool; from mailspool.model.envelope import Recipient as R; Spool().send_mail("
    code += "to=[R('a@x.example', ('SUCCESS',), 'rfc822;o+2Bld@x.example'), R('b@x.example', ('NEVER',)),"
    code += " 'c@x.example'],"
    code += " from_='', ret='hdrs', envid='Q+2B1', message='From: f@y.example\\n\\nx\\n', notify=['delay'])"
    done = system.call(code=code, MAILSPOOL_CONFIG=str(place / "mailspool.toml"))
    assert (done.returncode, done.stderr) == (0, b"")
    ((envelope, _),) = messages(spool)
    assert (envelope.sender, envelope.ret, envelope.envid) == ("", "HDRS", "Q+2B1")
    assert envelope.user == USER.pw_name
    assert envelope.recipients == (
        Recipient("a@x.example", ("SUCCESS",), "rfc822;o+2Bld@x.example"),
        Recipient("b@x.example", ("NEVER",)),
        Recipient("c@x.example", ("DELAY",)),
    )


@pytest.mark.parametrize(
    "word",
    [
        *("", "x", "{}", "[]", '{"sender": "", "recipients": []}', '{"sender": "", "recipients": [], "user": "root"}'),
        '{"sender": "a@x.example\\n", "recipients": [{"address": "a@x.example"}]}',
        '{"sender": "", "recipients": [{"address": "a@x.example\\r\\nRCPT TO:<b@x.example>"}]}',
        '{"sender": "", "recipients": [{"address": "a@x.example", "notify": ["LATER"]}]}',
        '{"sender": "", "recipients": [{"address": "a@x.example", "orcpt": "rfc822;a b"}]}',
        "\udcff",
    ],
)
def test_an_envelope_that_makes_no_sense_is_refused(running, spool, word):
    file = os.memfd_create("message")
    os.write(file, b"Subject: x\n\nx\n")
    os.lseek(file, 0, os.SEEK_SET)
    refused = client.hand_over(running.run_dir, [word], file)
    assert refused.code in {64, 65}
    assert messages(spool) == []


@ROOT_ONLY
@pytest.mark.parametrize("system", [0.0], indirect=True)
def test_an_ordinary_user_may_have_the_queue_looked_at_and_not_look_himself(system, spool, place):
    config = {"MAILSPOOL_CONFIG": str(place / "mailspool.toml")}
    code = "from mailspool import Spool; s = Spool.from_config(None, ['run_dir=/nonexistent']);"
    code += " s.send_mail(to=['a@x.example'], from_='f@y.example', message='Subject: x\\n\\nx\\n')"
    assert system.call(code=code, uid=OWNER.pw_uid, **config).stderr == b""
    assert [at.tier for at in spool.store.locations()] == [0]  # nobody was told
    done = system.call("-q", **config)
    assert (done.returncode, done.stderr) == (0, b"")
    eventually(lambda: [at.tier for at in spool.store.locations()] == [1])
    assert system.stop() == 0
    listed = system.call("-bp", **config)
    assert (listed.returncode, listed.stdout) == (77, b"")
    assert b"ask again as root" in listed.stderr
    done = system.call("-q", **config)
    assert done.returncode == 69
    assert b"is mailspoold running?" in done.stderr


@ROOT_ONLY
def test_without_a_daemon_an_ordinary_user_gets_75_and_a_sentence_and_the_owner_writes_by_himself(system, place, spool):
    assert system.stop() == 0
    config = str(place / "mailspool.toml")
    done = system.call("a@x.example", MAILSPOOL_CONFIG=config)
    assert done.returncode == 75
    assert b"is mailspoold running?" in done.stderr
    assert done.stderr.count(b"\n") == 1
    assert system.call("a@x.example", uid=OWNER.pw_uid, MAILSPOOL_CONFIG=config).returncode == 0
    assert len(messages(spool)) == 1


# --- who misbehaves, and who dies


def test_who_says_nothing_keeps_nobody_waiting(running, spool):
    silent = []
    for _ in range(5):
        silent.append(socket.socket(socket.AF_UNIX))
        silent[-1].connect(client.socket_path(running.run_dir))
    assert call(running, "a@x.example").returncode == 0
    for each in silent:
        assert each.recv(100) == client.GREETING
        each.close()


def test_what_is_no_message_is_refused_and_harms_nobody(running, spool):
    reader, writer = os.pipe()
    for data, files in [(b"x", []), (b"\0" * 8, []), (b"\0" * 8, [reader]), (b"\xff" * 8, [os.memfd_create("x")])]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(client.socket_path(running.run_dir))
            assert connection.recv(100) == client.GREETING
            socket.send_fds(connection, [data], files)
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(100).startswith(b"64 ")
    os.close(reader)
    os.close(writer)
    assert call(running, "a@x.example").returncode == 0
    assert len(messages(spool)) == 1


def test_a_hand_over_that_is_cut_short_is_nothing(running, spool):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(client.socket_path(running.run_dir))
        connection.recv(100)
        request = b"\0".join([b"", b"sendmail", b"a@x.example"])
        socket.send_fds(connection, [len(request).to_bytes(8, "big")], [os.memfd_create("x")])
        connection.sendall(request[:-3])
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100).startswith(b"64 ")
    assert messages(spool) == []


def listener_of(running):
    return eventually(lambda: listeners(running))[-1]


def test_at_term_what_is_taken_is_finished_first(running, spool):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(client.socket_path(running.run_dir))
        assert connection.recv(100) == client.GREETING
        running.send(signal.SIGTERM)
        eventually(lambda: not Path(client.socket_path(running.run_dir)).exists())
        file = os.memfd_create("x")
        os.write(file, b"Subject: x\n\nx\n")
        os.lseek(file, 0, os.SEEK_SET)
        request = b"\0".join([b"", b"sendmail", b"a@x.example"])
        socket.send_fds(connection, [len(request).to_bytes(8, "big")], [file])
        connection.sendall(request)
        assert connection.recv(100).startswith(b"0 ")
    assert running.wait() == 0
    assert len(messages(spool)) == 1


def test_a_client_whose_listener_dies_gets_75_or_accepts_by_itself_but_never_both(running, spool, place):
    (running_child,) = [listener_of(running)]
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(client.socket_path(running.run_dir))
        assert connection.recv(100) == client.GREETING
        (child,) = eventually(lambda: children_of(running_child))
        assert title_of(child) == "mailspool: listener"
        os.kill(child, signal.SIGKILL)
        assert connection.recv(100) == b""
    eventually(lambda: not is_running(child))
    os.kill(running_child, signal.SIGKILL)
    eventually(lambda: running_child not in listeners(running) and listeners(running))
    assert call(running, "a@x.example").returncode == 0
    assert len(messages(spool)) == 1


def serving(running, calls=1):
    """The children of the listener after so many clients, one after the other."""
    for _ in range(calls):
        assert call(running, "a@x.example").returncode == 0
    return eventually(lambda: children_of(listener_of(running)))


def test_a_child_serves_one_client_after_the_other_and_goes_when_nobody_comes(running, spool):
    assert len(serving(running, calls=5)) < 5
    assert len(messages(spool)) == 5
    eventually(lambda: not children_of(listener_of(running)))
    assert call(running, "a@x.example").returncode == 0


@pytest.mark.parametrize("is_known", [False, True], ids=["unknown", "known"])
def test_a_child_that_dies_while_it_rests_takes_nobody_with_it(running, spool, is_known):
    for child in serving(running):
        os.kill(child, signal.SIGKILL)
        eventually(lambda child=child: not (is_known and is_running(child)))
    assert call(running, "a@x.example").returncode == 0
    assert len(messages(spool)) == 2


def test_a_child_that_rests_goes_on_in_the_log_that_was_opened_anew(daemon, place):
    log = place / "mail.log"
    one = daemon(log_file=str(log), dequeue_periods=[3600.0], dequeue_priority=[1])
    eventually(lambda: listeners(one))
    child = serving(one)[0]
    log.rename(place / "mail.log.1")
    one.send(signal.SIGUSR1)
    eventually(lambda: serving(one) and log.exists() and f"listener[{child}]" in log.read_text())


def test_an_answer_that_gets_lost_is_75(tmp_path):
    path = client.socket_path(str(tmp_path))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        pid = os.fork()
        if not pid:
            connection, _ = server.accept()
            connection.sendall(client.GREETING)
            connection.recv(8)
            connection.recv(100)
            os._exit(0)
        answer = client.hand_over(str(tmp_path), ["", "sendmail", "a@b"], os.memfd_create("x"))
        os.waitpid(pid, 0)
    assert (answer.code, answer.queue_id) == (75, "")
    assert "may have been accepted" in answer.text


def test_who_is_not_greeted_has_handed_nothing_over(tmp_path):
    assert client.hand_over(str(tmp_path), ["", "sendmail"], os.memfd_create("x")) is None
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(client.socket_path(str(tmp_path)))
        assert client.hand_over(str(tmp_path), ["", "sendmail"], os.memfd_create("x")) is None


def test_after_a_reload_mail_is_taken_under_the_new_configuration(running, spool, place):
    before = listener_of(running)
    running.config.write_text(running.config.read_text().replace('"mail.test"', '"new.test"'))
    running.send(signal.SIGHUP)
    eventually(lambda: listener_of(running) != before)
    eventually(lambda: not is_running(before))
    assert call(running, "a@x.example").returncode == 0
    ((envelope, _),) = messages(spool)
    assert envelope.sender.endswith("@new.test")


def test_many_at_once_are_all_taken_each_once(running, spool):
    command = [sys.executable, str(ROOT / "bin/sendmail"), "-i"]
    env = environment(running.run_dir)
    count = listener.MAX_CHILDREN_OF_A_USER + 10
    processes = [
        subprocess.Popen([*command, f"u{n}@x.example"], stdin=subprocess.DEVNULL, env=env) for n in range(count)
    ]
    assert [process.wait(60) for process in processes] == [0] * count
    assert sorted(address for envelope, _ in messages(spool) for address in addresses(envelope)) == sorted(
        f"u{n}@x.example" for n in range(count)
    )

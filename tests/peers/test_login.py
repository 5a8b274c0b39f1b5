# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Exim and Postfix let us in with each of their mechanisms, and their logs say with which."""

import io
import json

import pytest

from mailspool.errors import LoginFailed
from mailspool.model.credentials import Credentials
from mailspool.model.envelope import Envelope, Facts, Recipient
from mailspool.model.outcome import Delivered, Failed
from mailspool.model.timeouts import Timeouts
from mailspool.smtp.session import Session
from mailspool.spool import Spool
from mailspool.store import nodename
from mailspool.tls.policy import TlsPolicy
from tests.peers import server
from tests.running import Daemon, eventually

MESSAGE = b"Subject: hello\r\n\r\nworld\r\n"
JOE = Credentials(user="joe", password="correct horse", tls="encrypt")


@pytest.fixture
def connect(exim):
    """connect(mechanism, …): a session with an Exim that offers only this mechanism, or "all"."""
    sessions = []

    def start(mechanism, credentials=JOE):
        name = f"{mechanism}.client.test"
        sessions.append(
            Session.open(
                exim.address,
                exim.port,
                "mx.exim.peers.test",
                name,
                timeouts=Timeouts(),
                tls=TlsPolicy(),
                credentials=credentials,
            )
        )
        return sessions[-1]

    yield start
    for session in sessions:
        session.quit()


def send(session, box):
    recipients = (Recipient(f"box-login-{box}@exim.peers.test"),)
    envelope = Envelope("id1", "joe@example.net", recipients, 0.0, facts=Facts(size=len(MESSAGE)))
    (outcome,) = session.send(envelope, recipients, io.BytesIO(MESSAGE))
    return outcome


@pytest.mark.parametrize(
    ("offered", "used"), [("plain", "plain"), ("login", "login"), ("cram", "cram"), ("all", "cram")]
)
def test_exim_lets_us_in_with_the_strongest_mechanism_that_it_offers(connect, exim, offered, used):
    session = connect(offered)
    assert isinstance(send(session, offered), Delivered)
    (line,) = [line for line in exim.log.splitlines() if f"H=({offered}.client.test)" in line and " <= " in line]
    assert f" A={used}:joe " in line
    assert "correct" not in str(session.transcript)


def test_a_user_and_a_password_in_any_characters_are_what_exim_gets_to_see(connect):
    for mechanism in ("plain", "login", "cram"):
        with pytest.raises(LoginFailed) as caught:
            connect(mechanism, Credentials(user="jörg", password="пароль", tls="encrypt"))
        assert "was refused: 535" in caught.value.text


@pytest.mark.parametrize("mechanism", ["plain", "login", "cram"])
def test_a_wrong_password_is_refused_and_told_without_it(connect, mechanism):
    with pytest.raises(LoginFailed) as caught:
        connect(mechanism, Credentials(user="joe", password="battery staple", tls="encrypt"))
    assert caught.value.status == "4.7.8"
    assert "535" in caught.value.text
    assert "battery" not in caught.value.text


def test_an_exim_that_offers_no_login_gets_no_mail_of_one_with_a_password(connect):
    with pytest.raises(LoginFailed, match="offers no AUTH"):
        connect("none")


def test_without_a_login_exim_takes_nothing_for_these_boxes(connect):
    assert isinstance(send(connect("all", None), "nobody"), Failed)


# --- Postfix, as the smarthost of the real daemon


@pytest.fixture
def through(postfix, tmp_path):
    """through(mechanism, password): the daemon, whose smarthost is a Postfix that lets in with this mechanism only."""
    started = []

    def start(mechanism, password):
        host = server.POSTFIX_WITH_LOGIN[mechanism]
        credentials = tmp_path / "credentials"
        credentials.touch(0o600)
        login = {"user": f"{server.USER}@peers.test", "password": password, "tls": "encrypt"}
        credentials.write_text(f'["{host}"]\n' + "".join(f"{name} = {json.dumps(login[name])}\n" for name in login))
        (tmp_path / "run").mkdir(mode=0o700)
        properties = {
            "dequeue_dir": str(tmp_path / "spool"),
            "run_dir": str(tmp_path / "run"),
            "user": "root",
            "hostname": "sender.peers.test",
            "smarthost": f"{host}:{postfix.port}",
            "credentials_file": str(credentials),
            "log_level": "debug",
        }
        started.append(Daemon(tmp_path, properties))
        return started[0]

    yield start
    for one in started:
        one.end()


def hand_in(daemon, recipient):
    spool = Spool.from_config(str(daemon.config))
    spool.send_mail(to=[recipient], from_="joe@example.net", message=MESSAGE.decode())
    return spool


@pytest.mark.parametrize("mechanism", server.POSTFIX_WITH_LOGIN)
def test_postfix_lets_the_daemon_in_with_each_mechanism_under_tls(through, postfix, mechanism):
    running = through(mechanism, server.PASSWORD)
    box = f"box-login-{mechanism.lower()}@postfix.peers.test"
    hand_in(running, box)
    (stored,) = postfix.mail_for(box)
    assert b"with ESMTPSA" in stored.added_by_peer  # RFC 3848: over TLS, and logged in
    assert f"sasl_method={mechanism}, sasl_username=joe@peers.test" in postfix.log
    assert server.PASSWORD not in running.log


@pytest.mark.parametrize("mechanism", server.POSTFIX_WITH_LOGIN)
def test_a_password_that_postfix_refuses_is_an_alarm_and_costs_no_message(through, mechanism):
    running = through(mechanism, "battery staple")
    spool = hand_in(running, f"box-refused-{mechanism.lower()}@postfix.peers.test")
    (alarm,) = eventually(lambda: running.status()["alarms"])
    assert "was refused: 535" in alarm["text"]
    eventually(lambda: [at.tier for at in spool.store.locations()] == [1])  # it waits, and nobody is sent a bounce
    (at,) = spool.store.locations()
    (attempt,) = spool.store.history(nodename.node_id_of(at.name))
    assert attempt.status == "4.7.8"
    assert "battery" not in running.log
    assert "battery" not in attempt.text

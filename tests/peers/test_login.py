# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Exim lets us in with each of its mechanisms, and its log says with which."""

import io

import pytest

from mailspool.errors import LoginFailed
from mailspool.model.credentials import Credentials
from mailspool.model.envelope import Envelope, Facts, Recipient
from mailspool.model.outcome import Delivered, Failed
from mailspool.model.timeouts import Timeouts
from mailspool.smtp.session import Session
from mailspool.tls.policy import TlsPolicy

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

# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What is answered to which challenge, and that no host can make us say the password to anybody else."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailspool.model.credentials import Credentials
from mailspool.smtp import auth
from mailspool.smtp.reply import Reply

PRINTABLE = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=80)
CREDENTIALS = st.builds(Credentials, user=PRINTABLE, password=PRINTABLE)


def mechanism(name):
    (found,) = auth.choose([name])
    return found


def test_the_strongest_mechanism_offered_comes_first_and_unknown_ones_are_passed_over():
    offered = {"LOGIN", "GSSAPI", "PLAIN", "CRAM-MD5"}
    assert [each.name for each in auth.choose(offered)] == ["CRAM-MD5", "PLAIN", "LOGIN"]
    assert auth.choose({"GSSAPI", "plain"}) == []


def test_cram_md5_answers_as_in_the_example_of_rfc_2195():
    credentials = Credentials(user="tim", password="tanstaaftanstaaf")
    challenge = b"<1896.697170952@postoffice.reston.mci.net>"
    (answer,) = mechanism("CRAM-MD5").answers
    assert answer(credentials, challenge) == b"tim b913a602c7eda7a495b4e6e7334d3890"


def hmac_md5(key, text):
    """RFC 2104, by hand."""
    key = (hashlib.md5(key).digest() if len(key) > 64 else key).ljust(64, b"\0")
    inner = hashlib.md5(bytes(octet ^ 0x36 for octet in key) + text).digest()
    return hashlib.md5(bytes(octet ^ 0x5C for octet in key) + inner).hexdigest().encode()


@given(CREDENTIALS, st.binary(max_size=200))
def test_cram_md5_answers_any_challenge_without_the_password(credentials, challenge):
    (answer,) = mechanism("CRAM-MD5").answers
    user, _, digest = answer(credentials, challenge).rpartition(b" ")
    assert user.decode() == credentials.user
    assert digest == hmac_md5(credentials.password.encode(), challenge)


@given(CREDENTIALS)
def test_plain_is_user_and_password_after_an_empty_authorization_identity(credentials):
    said = auth.initial_response(mechanism("PLAIN"), credentials)
    if said:
        assert base64.b64decode(said).split(b"\0") == [b"", credentials.user.encode(), credentials.password.encode()]
        assert len(b"AUTH PLAIN " + said + b"\r\n") <= 512
    else:
        assert len(credentials.user.encode() + credentials.password.encode()) > 360


def test_an_initial_response_that_makes_too_long_a_line_waits_for_the_challenge():
    assert auth.initial_response(mechanism("PLAIN"), Credentials(user="u" * 200, password="p" * 200)) == b""
    assert auth.initial_response(mechanism("PLAIN"), Credentials(user="joe", password="secret"))


@given(CREDENTIALS, st.binary(), st.binary())
def test_login_says_the_user_and_then_the_password_whatever_it_is_asked(credentials, one, two):
    login = mechanism("LOGIN")
    assert auth.initial_response(login, credentials) == b""
    said = [answer(credentials, challenge) for answer, challenge in zip(login.answers, (one, two), strict=True)]
    assert said == [credentials.user.encode(), credentials.password.encode()]


@given(st.binary(max_size=1000))
def test_a_challenge_that_was_encoded_is_read_back(challenge):
    assert auth.read_challenge(Reply(334, (auth.encode(challenge).decode(),))) == challenge


@given(st.sampled_from([235, 334, 535]), st.lists(st.text(max_size=20), min_size=1, max_size=2))
def test_no_reply_breaks_the_reader_of_challenges(code, lines):
    challenge = auth.read_challenge(Reply(code, tuple(lines)))
    assert challenge is None or (code, len(lines)) == (334, 1)


@pytest.mark.parametrize("text", ["no base64", "Zm9v!", "Zm9", "Grüße"])
def test_what_is_no_base64_is_no_challenge(text):
    assert auth.read_challenge(Reply(334, (text,))) is None


@given(CREDENTIALS, st.sampled_from(["CRAM-MD5", "PLAIN", "LOGIN"]), st.text(max_size=20), st.integers(8, 400))
def test_what_a_host_repeats_of_our_words_is_concealed_even_if_it_is_cut_short(credentials, name, before, length):
    said = auth.encode(mechanism(name).answers[-1](credentials, b"challenge")).decode()
    text = auth.concealer(credentials, said.encode())(f'{before} "{said[:length]}"')
    assert said[:8] not in text or said[:8] in before


@given(CREDENTIALS)
def test_what_shows_credentials_shows_neither_user_nor_password(credentials):
    assert repr(credentials) == str(credentials) == "Credentials(***, tls='verify')"


def test_the_password_in_clear_is_concealed_and_other_words_stay():
    conceal = auth.concealer(Credentials(user="joe", password="tanstaaf"), b"AGpvZQB0YW5zdGFhZg==")
    assert conceal("5.7.8 Error: authentication failed") == "5.7.8 Error: authentication failed"
    assert conceal("AUTH 'AGpvZQB0YW5zd' of tanstaaf?") == "AUTH '***' of ***"

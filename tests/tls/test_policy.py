# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
import pytest

from mailspool.tls.policy import TlsLevel, TlsPolicy


@pytest.mark.parametrize(
    ("word", "wanted", "required"),
    [("none", False, False), ("may", True, False), ("encrypt", True, True), ("verify", True, True)],
)
def test_each_level_says_what_it_asks_for(word, wanted, required):
    policy = TlsPolicy(TlsLevel(word))
    assert (policy.wanted, policy.required) == (wanted, required)


def test_unless_told_otherwise_tls_is_opportunistic():
    assert TlsPolicy().level is TlsLevel.MAY

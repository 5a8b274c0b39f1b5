# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
import ssl

import pytest

from mailspool.tls import context
from mailspool.tls.policy import TlsLevel, TlsPolicy


def test_the_opportunistic_context_believes_whoever_answers():
    may = context.context_for(TlsPolicy(TlsLevel.MAY))
    assert (may.verify_mode, may.check_hostname) == (ssl.CERT_NONE, False)
    assert context.context_for(TlsPolicy(TlsLevel.ENCRYPT)) is may


def test_the_verifying_context_checks_the_chain_and_the_name():
    verify = context.context_for(TlsPolicy(TlsLevel.VERIFY))
    assert (verify.verify_mode, verify.check_hostname) == (ssl.CERT_REQUIRED, True)


@pytest.mark.parametrize("level", [TlsLevel.MAY, TlsLevel.VERIFY])
def test_nothing_older_than_tls_1_2_is_spoken(level):
    assert context.context_for(TlsPolicy(level)).minimum_version >= ssl.TLSVersion.TLSv1_2


def test_what_was_preloaded_is_not_built_again():
    context.preload()
    built = context.opportunistic.cache_info().misses, context.verifying.cache_info().misses
    context.context_for(TlsPolicy(TlsLevel.MAY))
    context.context_for(TlsPolicy(TlsLevel.VERIFY))
    assert (context.opportunistic.cache_info().misses, context.verifying.cache_info().misses) == built

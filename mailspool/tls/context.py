# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The SSL contexts for sessions with other hosts: each is built once, at least TLS 1.2 (RFC 8996, RFC 9325 §3.1.1).

Reading the authorities costs some 20 ms, so whoever forks calls `preload` before. A system that asks for more
than TLS 1.2 in its openssl.cnf gets what it asks for.
"""

import ssl
from functools import cache

from mailspool.tls.policy import TlsLevel, TlsPolicy


def context_for(policy: TlsPolicy) -> ssl.SSLContext:
    """The context for one policy that wants TLS."""
    return verifying() if policy.level is TlsLevel.VERIFY else opportunistic()


@cache
def opportunistic() -> ssl.SSLContext:
    """Against listeners only (RFC 7435): any certificate will do, as the alternative would be none."""
    context = _client()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@cache
def verifying() -> ssl.SSLContext:
    """The certificate must name the host (RFC 6125) and come from an authority that the system trusts."""
    context = _client()
    context.load_default_certs()
    return context


def preload() -> None:
    """Build all contexts now, so that no worker has to."""
    opportunistic()
    verifying()


def _client() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = max(context.minimum_version, ssl.TLSVersion.TLSv1_2)
    return context

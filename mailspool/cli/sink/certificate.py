# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The TLS context of a server: with a certificate and key that were given, or with one made on the spot by openssl.

The latter is its own authority, names localhost and the loopback addresses, and is gone with the process.
"""

import ssl
import subprocess
import tempfile

from mailspool.errors import MailspoolError

_REQUEST = ("req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "2")
_NAMES = "subjectAltName=DNS:localhost,DNS:sink.test,IP:127.0.0.1,IP:::1"


def server_context(certificate: str = "", key: str = "") -> ssl.SSLContext:
    """certificate, key: paths of PEM files; the key may stand in the first one too. Raises MailspoolError."""
    if certificate:
        return _load(certificate, key)
    with tempfile.TemporaryDirectory(prefix="mailspool-sink-") as folder:
        pem = f"{folder}/certificate.pem"
        _make(pem)
        return _load(pem, "")


def _load(certificate: str, key: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key or None)
    except OSError as error:  # ssl.SSLError is one
        reason = error.strerror or str(error)
        raise MailspoolError(
            f"cannot use the certificate {certificate} and the key {key or 'in it'}: {reason}"
        ) from error
    return context


def _make(pem: str) -> None:
    names = ("-subj", "/CN=localhost", "-addext", _NAMES)
    try:
        subprocess.run(
            ["openssl", *_REQUEST, *names, "-keyout", pem, "-out", f"{pem}.crt"], check=True, capture_output=True
        )
    except FileNotFoundError:
        raise MailspoolError(
            "--tls needs the program openssl to make a certificate: install it, or give --tls-cert"
        ) from None
    except subprocess.CalledProcessError as error:
        raise MailspoolError(f"openssl made no certificate: {error.stderr.decode(errors='replace').strip()}") from error
    with open(pem, "ab") as whole, open(f"{pem}.crt", "rb") as certificate:  # noqa: PTH123  # paths are strings here
        whole.write(certificate.read())

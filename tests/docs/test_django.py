# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The cookbook's backend for Django, under Django itself."""

import subprocess
import sys

import pytest

from tests.docs.page import PAGES, blocks
from tests.running import ENVIRONMENT, write_config

COOKBOOK = next(page for page in PAGES if page.name == "cookbook.md")
SITE = "/srv/mysite/"


@pytest.fixture
def site(make_spool, properties, tmp_path):
    """site(lines): has a Django with the cookbook's settings run them; its exit code and what it prints."""
    spool = make_spool()
    write_config(tmp_path / "mailspool.toml", properties())
    for block in blocks(COOKBOOK):
        if block.file.startswith(SITE):
            path = tmp_path / block.file.removeprefix(SITE)
            path.parent.mkdir(exist_ok=True)
            path.write_text(block.text)
        if block.text.startswith("EMAIL_BACKEND"):
            (tmp_path / "settings.py").write_text(block.text)
    environment = {
        **ENVIRONMENT,
        "PYTHONPATH": f"{tmp_path}:{ENVIRONMENT['PYTHONPATH']}",
        "MAILSPOOL_CONFIG": f"{tmp_path}/mailspool.toml",
        "DJANGO_SETTINGS_MODULE": "settings",
    }

    def run(lines):
        words = [sys.executable, "-c", f"import django\nfrom django.core.mail import *\ndjango.setup()\n{lines}"]
        return subprocess.run(words, env=environment, capture_output=True, text=True)

    run.stored = lambda: [spool.store.open(location) for location in spool.store.locations()]
    return run


def test_what_django_sends_is_in_the_spool(site):
    ran = site(
        "message = EmailMultiAlternatives('Grüße', 'plain', to=['Bob <bob@example.org>'], cc=['sue@example.org'],"
        " bcc=['joe@example.org'])\n"
        "message.attach_alternative('<p>rich</p>', 'text/html')\n"
        "print(message.send(), send_mail('x', 'y', 'me@example.net', ['ann@example.org']))"
    )
    assert (ran.stdout, ran.stderr) == ("1 1\n", "")
    by_sender = {each.envelope.sender: each for each in site.stored()}
    assert set(by_sender) == {"web@example.net", "me@example.net"}
    recipients = [recipient.address for recipient in by_sender["web@example.net"].envelope.recipients]
    assert recipients == ["bob@example.org", "sue@example.org", "joe@example.org"]
    assert b"joe@example.org" not in by_sender["web@example.net"].file.read()


def test_what_is_refused_is_raised_unless_it_is_to_fail_silently(site):
    ran = site("print(send_mail('x', 'y', 'me@example.net', ['b@d@b'], fail_silently=True))")
    assert (ran.stdout, ran.stderr) == ("0\n", "")
    ran = site("send_mail('x', 'y', 'me@example.net', ['b@d@b'])")
    assert "AddressError" in ran.stderr
    assert site.stored() == []

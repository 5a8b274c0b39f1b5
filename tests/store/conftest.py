# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""A spool in a temporary directory, and a message to put into it."""

import os

import pytest

from mailspool.model.envelope import Envelope, Recipient
from mailspool.store.claim import this_owner
from mailspool.store.filesystem import FileStore
from mailspool.store.nodename import new_id

MESSAGE = b"Subject: hello\r\n\r\n.dot\r\nworld\r\n"
NOW = 1_700_000_000


@pytest.fixture
def spool(tmp_path):
    store = FileStore(tmp_path / "spool", this_owner())
    store.create(3)
    return store


@pytest.fixture
def letter():
    """Makes an envelope for these recipients."""

    def make(*recipients, message_id=""):
        addresses = recipients or ("joe@a.example",)
        return Envelope(message_id or new_id(NOW, os.urandom), "me@b.example", tuple(map(Recipient, addresses)), NOW)

    return make

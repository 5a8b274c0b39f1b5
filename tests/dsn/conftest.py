# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What the tests of reports share."""

import time

import pytest


@pytest.fixture(autouse=True, scope="module")
def _utc():
    """Reports give dates in local time: here that is UTC."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()

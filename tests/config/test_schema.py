# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
import re

import pytest

from mailspool.config.explain import changes, options
from mailspool.config.schema import STOP_MARGIN, Settings
from mailspool.model.timeouts import Timeouts
from tests.running import ROOT


def test_every_option_has_help_and_says_what_it_allows():
    for option in options():
        assert option.help.endswith((".", '"')), option.name
        assert len(option.allowed) > 5, option.name


def test_the_seven_properties_of_the_original_keep_their_names_and_defaults():
    seed = Settings()
    assert seed.dequeue_periods == (0, 1800, 14400, 28800, 57600, 86400, 172800)
    assert seed.dequeue_priority == (1, 3, 9, 25, 50, 100, 200)
    assert (seed.dequeue_timeout, seed.max_dequeue_processes, seed.max_connection_time) == (20, 20, 21600)


def test_each_phase_of_a_session_has_its_option():
    assert Settings().timeouts == Timeouts()
    assert Settings(rcpt_timeout=7.0).timeouts.rcpt == 7


def test_a_bigger_message_gets_a_bigger_budget_up_to_the_maximum():
    settings = Settings(delivery_timeout=100.0, min_rate=10, max_connection_time=150.0)
    assert settings.budget(0) == 100
    assert settings.budget(200) == 120
    assert settings.budget(10**9) == 150


def test_the_tiers_follow_from_periods_and_priorities():
    first, second = Settings(dequeue_periods=(0.0, 60.0), dequeue_priority=(1, 4)).tiers
    assert (first.wait, first.last) == (0, False)
    assert (second.number, second.wait, second.priority, second.last) == (1, 60, 4, True)


def test_options_that_a_hup_cannot_change_are_told():
    new = Settings(run_dir="/elsewhere", tls="none")
    assert [change.name for change in changes(Settings(), new) if not change.counts] == ["run_dir"]


def test_each_change_tells_the_old_and_the_new_value_in_words_and_whether_it_counts():
    told = changes(Settings(), Settings(run_dir="/elsewhere", max_age=3600.0, bounce_size_limit=1024))
    assert [(str(change), change.counts) for change in told] == [
        ('max_age: "5d" -> "1h"', True),
        ('run_dir: "/run/mailspool" -> "/elsewhere"', False),
        ('bounce_size_limit: "50 kB" -> "1 KiB"', True),
    ]


def test_an_option_without_help_is_not_to_be_had():
    assert {option.name for option in options()} == {*Settings.__struct_fields__}


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("etc/systemd/mailspool.service", "TimeoutStopSec"),
        ("etc/default/mailspool", "#STOP_TIMEOUT"),
        ("init.d/mailspool", "STOP_TIMEOUT"),
    ],
)
def test_who_stops_the_daemon_leaves_it_the_time_that_it_takes(file, name):
    (seconds,) = re.findall(rf"^{name}=(\d+)\b", (ROOT / file).read_text(), re.MULTILINE)
    assert float(seconds) >= Settings().shutdown_timeout + STOP_MARGIN

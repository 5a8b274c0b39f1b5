# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The trigger: whoever pulls it waits for nothing."""

import os
import select
import stat

from mailspool.supervisor.trigger import Trigger, poke


def pulled(trigger):
    return bool(select.select([trigger], [], [], 0)[0])


def test_who_is_poked_is_told_once_however_often_that_was(tmp_path):
    trigger = Trigger(str(tmp_path))
    assert not pulled(trigger)
    assert all(poke(str(tmp_path)) for _ in range(1000))
    assert pulled(trigger)
    trigger.clear()
    assert not pulled(trigger)
    trigger.close(unlink=True)


def test_a_poke_never_waits_even_if_nobody_clears(tmp_path):
    trigger = Trigger(str(tmp_path))
    assert all(poke(str(tmp_path)) for _ in range(70_000))  # a pipe holds 65,536
    trigger.clear()
    assert not pulled(trigger)
    trigger.close(unlink=True)


def test_where_nobody_listens_a_poke_says_so(tmp_path):
    assert not poke(str(tmp_path))
    Trigger(str(tmp_path)).close(unlink=False)  # as one that was killed leaves it
    assert not poke(str(tmp_path))


def test_a_trigger_left_by_a_supervisor_that_was_killed_is_replaced(tmp_path):
    Trigger(str(tmp_path)).close(unlink=False)
    trigger = Trigger(str(tmp_path))
    poke(str(tmp_path))
    assert pulled(trigger)
    assert stat.filemode(os.stat(tmp_path / "trigger").st_mode) == "prw-------"
    trigger.close(unlink=True)
    assert not os.listdir(tmp_path)

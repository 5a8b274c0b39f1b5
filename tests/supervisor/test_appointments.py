# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Jobs with a time of their own, under a simulated clock."""

import msgspec

from mailspool.supervisor.appointments import MAX_APPOINTMENTS, Appointments
from mailspool.supervisor.job import Appointment, Job, Report, Result
from mailspool.supervisor.station import MAX_ALARM, MAX_ALARMS, MAX_APPOINTED, MAX_PACKET


def job(name):
    return Job(f"1/{name}", "x.example", name)


def test_each_job_comes_once_when_its_time_has_come():
    kept = Appointments()
    kept.add([Appointment(job("a"), 300.0), Appointment(job("b"), 30.0), Appointment(job("c"), 30.0)], 100.0)
    assert (list(kept.due(129.0)), kept.left(129.0)) == ([], 1.0)
    assert [each.group for each in kept.due(130.0)] == ["b", "c"]
    assert (list(kept.due(130.0)), len(kept)) == ([], 1)
    assert dict(kept.times(130.0)) == {"1/a": 270.0}
    kept.clear()
    assert kept.left(0.0) == float("inf")


def test_memory_has_an_end():
    kept = Appointments()
    for n in range(MAX_APPOINTMENTS // 100 + 1):
        kept.add([Appointment(job(str(n)), 30.0)] * 100, 0.0)
    assert len(kept) == MAX_APPOINTMENTS


def test_a_report_of_the_longest_names_fits_into_a_packet():
    longest = Job(f"6/{'n' * 255}", "d" * 100, "g" * 64)
    alarms = {"a" * 300 + str(n): "t" * MAX_ALARM for n in range(MAX_ALARMS)}
    report = Report([Result.SETTLED] * 200, alarms, "", (), None, [Appointment(longest, 300.0)] * MAX_APPOINTED)
    assert len(msgspec.msgpack.encode(report)) < MAX_PACKET

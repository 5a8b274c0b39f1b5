# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What setup says of its steps that are no files."""

from mailspool.cli.setup.system import Registration


def test_a_registration_is_listed_with_the_commands_that_are_about_to_run():
    one = Registration("start at boot", (("rc", "enable"), ("rc", "start")), (("rc", "disable"),))
    assert str(one) == "start at boot: rc enable; rc start"
    assert one.undoing == "start at boot: rc disable"

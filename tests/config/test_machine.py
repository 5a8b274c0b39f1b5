# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
import pytest

from mailspool.config.machine import host_name, machine_names


@pytest.mark.parametrize(
    ("nodename", "mailname", "hosts", "expected"),
    [
        ("web.example.org", "other.example", "127.0.1.1 web.else.example web", "web.example.org"),
        ("web", "web.example.org", "127.0.1.1 web.else.example web", "web.example.org"),
        ("web", "example.org", "127.0.1.1 web.else.example web", "web.else.example"),
        ("web", "example.org", "#127.0.1.1 web.else.example", "web"),
        ("web", "", "127.0.0.1 localhost\n192.0.2.1 website.example", "web"),
        ("Web", "", "127.0.1.1 Web.Example.ORG Web", "web.example.org"),
    ],
)
def test_the_first_name_that_is_this_host_and_has_a_domain_is_its_name(nodename, mailname, hosts, expected):
    assert host_name(nodename, mailname, hosts) == expected


def test_this_machine_has_a_name():
    assert machine_names()[0]

# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What is read in passing is what is read with care: the same envelope, and the same fault where there is one."""

import os
from pathlib import Path

import pytest

from mailspool.errors import ClaimLost, SpoolError, Unreadable
from mailspool.store import fsops, glance
from mailspool.store.base import Location, State
from tests.store.conftest import MESSAGE, NOW

SMALL, LARGE = MESSAGE, MESSAGE + b"x" * 70 + b"\r\n" + b"y\r\n" * 5000


def outcome(look):
    try:
        found = look()
    except SpoolError as error:
        return type(error), str(error)
    return found


def both(spool, location):
    """What is read in passing, which is checked to be what is read with care."""
    glanced = outcome(lambda: spool.envelope(location))
    assert glanced == outcome(lambda: spool.open(location).envelope)
    return glanced


def rewritten(spool, name, change):
    path = Path(spool.path(Location(State.QUEUED, 0, name)))
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize("message", [SMALL, LARGE, b"", MESSAGE + b"z" * 4096])
@pytest.mark.parametrize("recipients", [1, 2, 200])
def test_an_envelope_is_the_one_that_was_accepted(spool, letter, message, recipients):
    envelope = letter(*(f"r{n}@a.example" for n in range(recipients)))
    for name in spool.accept(envelope, [message], NOW)[:3]:
        assert both(spool, Location(State.QUEUED, 0, name)).recipients == envelope.recipients


def test_what_is_small_and_whole_needs_no_second_look(spool, letter):
    for message in (SMALL, LARGE):
        (name,) = spool.accept(letter(), [message], NOW)
        location = Location(State.QUEUED, 0, name)
        assert glance.envelope(spool.path(location), location) == spool.open(location).envelope


@pytest.mark.parametrize("message", [SMALL, LARGE])
@pytest.mark.parametrize(
    "change",
    [
        lambda octets: octets[:-1],
        lambda octets: octets + b"\n",
        lambda octets: octets.replace(b'"version":1', b'"version":2').replace(b"{", b'{"version":2,', 1),
        lambda octets: octets[1:],
        lambda octets: octets.replace(b"\n", b" ", 1),
        lambda octets: octets.replace(b"me@", b"m\xff@", 1),
        lambda octets: b"\n" + octets,
        lambda _octets: b"",
        lambda _octets: b"\0" * 5000,
    ],
)
def test_a_fault_is_told_in_the_same_words(spool, letter, message, change):
    (name,) = spool.accept(letter(), [message], NOW)
    rewritten(spool, name, change)
    assert both(spool, Location(State.QUEUED, 0, name))[0] is Unreadable


def test_a_name_that_is_not_its_messages_is_told(spool, letter):
    (name,) = spool.accept(letter(), [MESSAGE], NOW)
    (other,) = spool.accept(letter(), [MESSAGE], NOW)
    path = spool.path(Location(State.QUEUED, 0, name))
    for wrong in (name.replace(".0-", ".1-"), name.replace("a.example", "A.example"), f"1{other}", "rubbish"):
        os.link(path, spool.path(Location(State.QUEUED, 1, wrong)))
        assert both(spool, Location(State.QUEUED, 1, wrong))[0] is Unreadable
    os.link(path, spool.path(Location(State.QUARANTINED, 0, "rubbish")))
    assert both(spool, Location(State.QUARANTINED, 0, "rubbish")).id in name


def test_a_claim_is_read_as_the_node_is(spool, letter):
    (name,) = spool.accept(letter(), [MESSAGE], NOW)
    claim = spool.seal(spool.claim(Location(State.QUEUED, 0, name), "w1.1"))
    assert both(spool, claim).id in name


def test_what_is_gone_is_a_lost_claim(spool):
    assert both(spool, Location(State.QUEUED, 0, "1-A.0-x"))[0] is ClaimLost


@pytest.mark.parametrize("plant", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_not_waited_on(spool, letter, plant):
    (name,) = spool.accept(letter(), [MESSAGE], NOW)
    location = Location(State.QUEUED, 1, name)
    plant(spool.path(location))
    assert both(spool, location)[0] is Unreadable


def test_a_symbolic_link_is_not_followed_not_even_to_a_whole_message(spool, letter):
    (name,) = spool.accept(letter(), [MESSAGE], NOW)
    location = Location(State.QUEUED, 1, name)
    os.symlink(spool.path(Location(State.QUEUED, 0, name)), spool.path(location))
    assert both(spool, location)[0] is Unreadable


def test_no_descriptor_is_left_open(spool, letter):
    (name,) = spool.accept(letter(), [LARGE], NOW)
    os.mkfifo(spool.path(Location(State.QUEUED, 1, name)))
    before = os.listdir("/proc/self/fd")
    fsops.glance(spool.path(Location(State.QUEUED, 0, name)), 100)
    for path in (Location(State.QUEUED, 1, name), Location(State.QUEUED, 2, name)):
        with pytest.raises(OSError):
            fsops.glance(spool.path(path), 100)
    assert os.listdir("/proc/self/fd") == before

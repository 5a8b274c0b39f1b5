# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What the crash harness does to a spool: each row is an operation, what it begins with, and how its nodes may end.

A new operation is a new row. What the first function makes is there before faults begin; the second is what meets
them. A node that is in no state listed for its recipient has been lost, or was judged by a local fault.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from mailspool.delivery.work import ALONE, SpoolWork
from mailspool.model.outcome import Attempt
from mailspool.store import fsops, rollcall, syncfs
from mailspool.store.base import Location, State
from mailspool.store.filesystem import FileStore
from mailspool.store.lease import Lease
from mailspool.store.recover import recover_owner, shorten
from mailspool.store.rollcall import RollCall
from mailspool.store.waiting import Waiting
from tests.crash.world import DEAD, ELSEWHERE, LONG_DEAD, MESSAGE, NOW, Here

HELD, QUARANTINED = "held", "quarantined"


class Operation(NamedTuple):
    """given: what it begins with. do: the operation, on what `given` returns. ends: besides delivered and bounced.

    accepts: when it raises, the sender was told no, and nothing is left.
    """

    given: Callable[[Here], Any]
    do: Callable[[Here, Any], object]
    ends: tuple[str, ...] = ()
    accepts: bool = False

    @property
    def settles(self) -> bool:
        """When it does not raise, no claim is left, but of what was delivered and cannot be removed."""
        return self.do is perform


# --- what is there


def nothing(spool):
    spool.create_dequeue_dirs()


def message(*to, sender="me@y.example", tier=0):
    def given(spool):
        nothing(spool)
        spool.accept(*to, sender=sender)
        for name in spool.store.names(0) if tier else ():
            spool.store.move(queued(name), queued(name, tier))
        return sorted(spool.jobs())

    return given


TWO = message("ok1@x.example", "ok2@z.example")


def messages(*to):
    """One message to each, by themselves. In this order, so that each run makes the same calls."""

    def given(spool):
        nothing(spool)
        ids = [spool.accept(address, sender="me@y.example") for address in to]
        return sorted(spool.jobs(), key=lambda job: ids.index(job.group))

    return given


def claims(spool):
    """Both nodes claimed, each by itself."""
    TWO(spool)
    return [spool.store.claim(queued(name), f"w{n}.1") for n, name in enumerate(sorted(spool.store.names(0)))]


def first_of(given):
    return lambda spool: given(spool)[0]


def failed_before(spool):
    """A node that is in tier 1, with a history, and its sibling."""
    message("never1@x.example", "ok2@z.example")(spool)
    (name, *_) = sorted(spool.store.names(0))
    spool.store.record(name.split("-")[1], [Attempt(NOW, 0, "mx", "4.2.1", "450 later")])
    spool.store.move(queued(name), queued(name, 1))
    return spool.jobs()


def in_folders(spool):
    """Both nodes claimed out of tier 1, and their folder is there still, with a third in it."""
    message(*ANY, "later3@x.example", tier=1)(spool)
    return [queued(name, 1) for name in sorted(spool.store.names(1))[:2]]


def emptied(spool):
    """The folder in which the node of tier 1 stood is empty, and its time is over."""
    message("ok1@x.example", tier=1)(spool)
    (name,) = spool.store.names(1)
    spool.store.move(queued(name, 1), queued(f"0-{name.partition('-')[2]}", 1))


def held(spool):
    return [spool.store.move(queued(name), queued(name)._replace(state=State.HELD)) for name in tier_0(spool)]


def quarantined(spool):
    return [spool.store.quarantine(queued(name), "why") for name in tier_0(spool)]


def torn(spool):
    """Of two nodes one is torn, and nobody was told yes to it."""
    jobs = message("ok1@x.example")(spool)
    name = tier_0(spool, make=False)[0]
    whole = Path(spool.store.path(queued(name))).read_bytes()
    with fsops.new_file(spool.store.path(queued(name.replace(".0-", ".1-")))) as file:
        fsops.write(file, whole[:-5])
    assert len(jobs) == 1
    return spool.jobs()


def strangers(spool):
    """What is no node stands in a tier."""
    TWO(spool)
    folder = spool.store.root
    os.mkfifo(f"{folder}/0/{int(NOW)}-fifo.0-x.example")
    os.mkdir(f"{folder}/0/folder")
    os.symlink("/etc/passwd", f"{folder}/0/link")


def left_by_the_dead(spool, owner=LONG_DEAD):
    """Three claims of two messages, one past its final dot, one with a history; a draft, and a history of nobody.

    A lease, too, and a roll-call.
    """
    nothing(spool)
    other = Here.at(spool.store.root, owner, spool.outside)
    other.accept("ok1@x.example", "ok2@z.example")
    other.accept("ok3@x.example")
    for n, name in enumerate(sorted(other.store.names(0))):
        claim = other.store.claim(queued(name), f"w{n}.1")
        if n == 1:
            other.store.seal(claim)
        if n == 2:
            other.store.record(name.split("-")[1], [Attempt(NOW, 0, "mx", "4.2.1", "450 later")])
    other.store.record("GONE.0", [Attempt(NOW, 0, "mx", "4.2.1", "450 later")])
    for name in (f"incoming/X~{owner}", f"hosts/{owner}", f"hosts/{owner}~rollcall"):
        with fsops.create(f"{spool.store.root}/{name}") as file:
            file.write(b"half a mess")


def left_by_another_host(spool):
    """The same, by an owner of whom only its lease tells."""
    left_by_the_dead(spool, ELSEWHERE)


def lease(spool):
    nothing(spool)
    one = Lease(spool.store.root, spool.store.owner, 60.0, lambda: NOW)
    one.create()
    return one


def left_by_a_worker(spool):
    """Two claims of a worker of ours; the first has lost a worker before."""
    TWO(spool)
    for n, name in enumerate(tier_0(spool, make=False)):
        spool.store.claim(queued(name), f"w7.{n}")
        if n == 0:
            spool.store.record(name.split("-")[1], [Attempt(NOW, 0, "", "4.3.0", "the worker that tried it ended")])


def deep(spool):
    message("ok1@x.example", "ok2@z.example", tier=3)(spool)


# --- what is done


def queued(name, tier=0):
    return Location(State.QUEUED, tier, name)


def tier_0(spool, make=True):
    if make:
        TWO(spool)
    return sorted(spool.store.names(0))


def perform(spool, jobs):
    SpoolWork(spool).perform(jobs, ALONE)


def for_each(step):
    def do(spool, things):
        for thing in things:
            step(spool.store, thing)

    return do


def hold(store, place):
    store.move(place, place._replace(state=State.HELD))


def release(store, place):
    store.move(place, queued(place.node))


def give_back_to_tier(store, place):
    store.move(store.claim(place, f"w1.{place.name[-12]}"), place)


def accept_copies(spool, _):
    """On a file system that makes no links. The kernel says so: it is asked, and the answer is exchanged."""
    link = fsops.link

    def refuse(_source, target):
        raise fsops.CannotLink(target)

    fsops.link = refuse
    try:
        spool.accept("ok1@x.example", "ok2@z.example")
    finally:
        fsops.link = link


def send(spool, _):
    message_id = spool.send_mail(to=[*ANY], from_="me@y.example", message=LETTER)
    for n, address in enumerate(ANY):
        spool.outside.note(f"accepted {message_id}.{n} {address}")


def send_batch(spool, _):
    with spool.batch() as batch:
        sent = [(batch.send_mail(to=to, from_="me@y.example", message=LETTER), to) for to in ANY]
    for message_id, address in sent:
        spool.outside.note(f"accepted {message_id}.0 {address}")


def one_sync(operation):
    """Where one sync is enough for a batch. The harness sees it, and has it fail, as a sync of the directory."""

    def do(spool, given):
        real = syncfs.is_enough, syncfs.syncfs
        syncfs.is_enough, syncfs.syncfs = (lambda _fd: True), (lambda fd: os.fdatasync(fd))
        try:
            operation(spool, given)
        finally:
            syncfs.is_enough, syncfs.syncfs = real

    return do


def give_back(spool, location):
    spool.node_at(location).release()


LETTER = b"Subject: hello\r\n" + MESSAGE
ANY = ("ok1@x.example", "ok2@x.example")


CALL = RollCall("1", "2", 3, NOW)

OPERATIONS = {
    "create": Operation(lambda spool: None, lambda spool, _: spool.create_dequeue_dirs()),
    "accept": Operation(nothing, lambda spool, _: spool.accept("ok1@x.example", "ok2@z.example"), accepts=True),
    "accept-copy": Operation(nothing, accept_copies, accepts=True),
    "accept-held": Operation(nothing, lambda spool, _: spool.accept(*ANY, state=State.HELD), (HELD,), accepts=True),
    "send": Operation(nothing, send, accepts=True),
    "send-batch": Operation(nothing, send_batch, accepts=True),
    "send-batch-one-sync": Operation(nothing, one_sync(send_batch), accepts=True),
    "claim": Operation(first_of(TWO), lambda spool, job: spool.store.claim(queued(job.key[2:]), "w1.1")),
    "seal": Operation(claims, for_each(FileStore.seal)),
    "give-back": Operation(claims, lambda spool, all_: [give_back(spool, each) for each in all_]),
    "deliver-one": Operation(message("ok1@x.example"), perform),
    "deliver": Operation(message(*ANY), perform),
    "deliver-later-tier": Operation(message(*ANY, tier=2), perform),
    "deliver-and-tell": Operation(message("ok1@x.example", "curious2@x.example", "curious3@x.example"), perform),
    "fall-back": Operation(message("later1@x.example", "later2@x.example"), perform),
    "fall-back-deep": Operation(message("later1@x.example", "later2@x.example", tier=2), perform),
    "give-back-deep": Operation(in_folders, for_each(give_back_to_tier)),
    "look": Operation(emptied, lambda spool, _: spool.store.look(1, Waiting(int(NOW) + 2000, int(NOW) + 3000, 0))),
    "bounce": Operation(message("never1@x.example", "never2@x.example"), perform),
    "bounce-later": Operation(failed_before, lambda spool, jobs: perform(spool, [j for j in jobs if j.key[0] == "1"])),
    "bounce-to-nobody": Operation(message("never1@x.example", "never2@x.example", sender=""), perform, (QUARANTINED,)),
    "settle-each-otherwise": Operation(message("ok1@x.example", "later2@x.example", "never3@x.example"), perform),
    "deliver-in-a-row": Operation(messages(*ANY, "later1@x.example", "ok3@x.example", "never2@x.example"), perform),
    "give-up": Operation(message("later1@x.example", "later2@x.example", tier=3), perform),
    "hold": Operation(lambda spool: list(map(queued, tier_0(spool))), for_each(hold), (HELD,)),
    "unhold": Operation(held, for_each(release), (HELD,)),
    "quarantine": Operation(claims, for_each(lambda store, at: store.quarantine(at, "why")), (QUARANTINED,)),
    "release": Operation(quarantined, for_each(release), (QUARANTINED,)),
    "torn": Operation(torn, perform),
    "strangers": Operation(strangers, lambda spool, _: spool.deliver()),
    "recover": Operation(left_by_the_dead, lambda spool, _: SpoolWork(spool).recover()),
    "recover-other-host": Operation(
        left_by_another_host,
        lambda spool, _: list(recover_owner(spool.store, spool.store.root, str(ELSEWHERE), NOW)),
    ),
    "lease": Operation(lease, lambda spool, lease: [lease.beat(), lease.beat(), lease.end()]),
    "lease-begin": Operation(nothing, lambda spool, _: Lease(spool.store.root, DEAD, 60.0, lambda: NOW).create()),
    "roll-call": Operation(lease, lambda spool, _: rollcall.write(spool.store.root, str(DEAD), CALL)),
    "recover-worker": Operation(left_by_a_worker, lambda spool, _: SpoolWork(spool).recover_worker(7, "signal 9")),
    "fewer-tiers": Operation(deep, lambda spool, _: list(shorten(spool.store, 1))),
}

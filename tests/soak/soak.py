# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Faults of all kinds, one after the other by seeded dice, while three hosts accept and deliver; then the account.

Whatever happened: accepted = delivered + bounced + held + quarantined + queued, each message in exactly one of them.
"""

import argparse
import random
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.lab import nfs
from tests.lab.lab import Lab
from tests.lab.shared import LEASE_TIME, Shared
from tests.running import eventually

RECIPIENTS = ",".join(["joe"] * 8 + ["never", "later"])
CALM = 300.0  # seconds until all that is left is at rest
KILL_ALL = """for process in /proc/[0-9]*; do
    read -r title <$process/cmdline 2>/dev/null
    case $title in {title}*) kill -9 ${{process#/proc/}};; esac
done"""


class Soak:
    def __init__(self, shared, dice, messages):
        self.shared, self.dice, self.messages = shared, dice, messages
        self.accepted = set()

    def round(self, fault):
        fill = self.shared.fill(self.messages, self.shared.hosts, RECIPIENTS)
        fill.until(1 + self.messages * self.dice.random() * 0.8)
        self.hold_some(sorted(fill.accepted()))
        fault(self)
        self.accepted |= fill.wait()

    def hold_some(self, accepted):
        """As an operator would; those that are delivered by now are not."""
        host = self.shared.hosts[0]
        host.python("bin/mailspool", "hold", "-c", self.shared.config(host), *accepted[-5:], check=False)

    @property
    def victim(self):
        return self.dice.choice(self.shared.hosts)

    def pause(self, longest):
        time.sleep(self.dice.random() * longest)

    def account(self):
        """{ID: places}, once nothing is on its way."""
        shared = self.shared

        def at_rest():
            left = [each for each in shared.left() if each.get("node")]
            return None if any(each["state"] in ("QUEUED", "CLAIMED") for each in left) else (left,)

        (left,) = eventually(at_rest, CALM, "nothing on its way")
        places = {queue_id: Counter() for queue_id in self.accepted}
        for name, copies in shared.taken().items():
            kind, _, queue_id = name.rpartition(":")
            if queue_id in places:
                places[queue_id]["bounced" if kind else "delivered"] = copies
        for each in left:
            if (queue_id := each["node"].partition(".")[0]) in places:
                places[queue_id][each["state"].lower()] = 1
        return places


# --- faults


def power_cut(soak):
    victim = soak.victim
    soak.shared.cut_power(victim)
    soak.pause(LEASE_TIME)
    soak.shared.boot(victim)


def freeze(soak):
    victim = soak.victim
    victim.freeze()
    soak.pause(3 * LEASE_TIME)
    victim.thaw()


def workers_killed(soak):
    soak.victim.run(KILL_ALL.format(title="mailspool:\\ worker"), check=False)


def cut_off(soak):
    victim = soak.victim
    victim.run("modprobe sch_netem; tc qdisc add dev eth0 root netem loss 100%")
    soak.pause(3 * LEASE_TIME)
    victim.run("tc qdisc del dev eth0 root")


def lossy(soak):
    victim = soak.victim
    victim.run("modprobe sch_netem; tc qdisc add dev eth0 root netem loss 10% reorder 10% delay 5ms")
    soak.pause(LEASE_TIME)
    victim.run("tc qdisc del dev eth0 root")


def clock_leaps(soak):
    soak.victim.run(f"date -s '{soak.dice.choice(['+1', '-1'])} hour'")


def server_away(soak):
    soak.shared.server.freeze()
    soak.pause(3 * LEASE_TIME)
    soak.shared.server.thaw()


def server_reboots(soak):
    server = soak.shared.server
    server.run("modprobe sch_netem; tc qdisc add dev eth0 root netem loss 100%")
    soak.pause(2)
    server.cut_power()
    server.boot()
    nfs.serve(server)


def replies_wait(soak):
    soak.shared.hold()
    soak.pause(LEASE_TIME)
    soak.shared.release()


FAULTS = (
    *(power_cut, freeze, workers_killed, cut_off, lossy, clock_leaps),
    *(server_away, server_reboots, replies_wait),
)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--rounds", type=int, default=len(FAULTS))
    parser.add_argument("--messages", type=int, default=1000, help="in each round")
    parser.add_argument("--nfs", choices=nfs.VERSIONS, default="4.2")
    options = parser.parse_args()
    print(f"seed {options.seed}, NFS {options.nfs}", flush=True)
    with Lab() as lab:
        shared = Shared(lab, options.nfs, ("a", "b", "c"))
        soak = Soak(shared, random.Random(options.seed), options.messages)
        with shared.delivering(shared.hosts):
            faults = list(FAULTS)
            soak.dice.shuffle(faults)
            for number in range(options.rounds):
                fault = faults[number % len(faults)]
                soak.round(fault)
                print(f"{number + 1}: {fault.__name__}; {len(soak.accepted)} accepted", flush=True)
            places = soak.account()
    counts = Counter(place for each in places.values() for place in each)
    wrong = {queue_id: dict(each) for queue_id, each in places.items() if len(each) != 1}
    twice = {place: sum(each[place] > 1 for each in places.values()) for place in ("delivered", "bounced")}
    print(f"accepted {len(places)} = " + " + ".join(f"{place} {count}" for place, count in sorted(counts.items())))
    print(f"more than once: {twice}; in no place or in several: {wrong or 'none'}")
    return bool(wrong) or sum(counts.values()) != len(places)


if __name__ == "__main__":
    sys.exit(main())

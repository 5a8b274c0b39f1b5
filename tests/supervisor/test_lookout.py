# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What a lookout answers, without a process; what it is for, tests/supervisor/test_supervisor.py shows."""

import itertools
import socket
import threading

import msgspec
import pytest

from mailspool.errors import SpoolError
from mailspool.supervisor.job import Job, Look
from mailspool.supervisor.lookout import MAX_ERROR, PIECE, Findings, Piece, look_when_asked, pieces
from mailspool.supervisor.station import MAX_PACKET


class Work:
    """So many jobs, and then perhaps an error."""

    def __init__(self, count, error=None):
        self.count, self.error, self.given = count, error, 0

    def jobs(self, look):
        for number in range(self.count):
            self.given += 1
            yield Job(f"{look.name}-{number}", "d", "g")
        if self.error:
            raise self.error

    def summary(self):
        return {"given": self.given}

    def deferred(self):
        return 3


@pytest.mark.parametrize("count", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE])
def test_all_that_a_look_finds_is_told_in_pieces_and_its_findings_with_the_last_one(count):
    *found, last = pieces(Work(count), Look.ALL)
    assert [job.key for piece in (*found, last) for job in piece.jobs] == [f"ALL-{n}" for n in range(count)]
    assert all(len(piece.jobs) == PIECE and piece.findings is None for piece in found)
    assert (last.findings.error, last.findings.summary, last.findings.deferred) == ("", {"given": count}, 3)


@pytest.mark.parametrize(
    ("error", "told"), [(SpoolError("no disk"), "no disk"), (ValueError("a bug"), "ValueError('a bug')")]
)
def test_what_goes_wrong_is_told_behind_what_was_found_before(error, told):
    *found, last = pieces(Work(PIECE + 7, error), Look.TICK)
    assert sum(len(piece.jobs) for piece in (*found, last)) == PIECE + 7
    assert last.findings.error == told


def test_the_largest_piece_of_the_longest_names_fits_into_a_packet():
    longest = Job("6/" + "n" * 195, "d" * 255, "i" * 64)
    piece = Piece([longest] * PIECE, Findings("é" * MAX_ERROR, 1.0, {"tiers": {str(n): 10**7 for n in range(100)}}, 3))
    assert len(msgspec.msgpack.encode(piece)) < MAX_PACKET


def test_a_lookout_waits_until_it_is_heard_however_much_there_is():
    work = Work(1000 * PIECE)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    thread = threading.Thread(target=look_when_asked, args=(work, theirs))
    with ours, theirs:
        thread.start()
        ours.send(b"ALL")
        decode = msgspec.msgpack.Decoder(Piece).decode
        most = 0
        for number in itertools.count(1):
            piece = decode(ours.recv(MAX_PACKET))
            most = max(most, work.given - number * PIECE)
            if piece.findings:
                break
        assert number == 1001
        assert most < 200 * PIECE  # what a socket holds of such short names
        ours.shutdown(socket.SHUT_RDWR)
        thread.join()

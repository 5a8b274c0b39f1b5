# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
import itertools
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest

from mailspool.errors import DeadlineExceeded, TransientError, UsageError
from mailspool.model.phase import Phase
from mailspool.smtp.pace import GRACE
from mailspool.smtp.reply import Reply
from mailspool.smtp.stream import HandshakeFailed, Stream, connect
from mailspool.tls.context import opportunistic


@pytest.fixture
def pair():
    """A stream and the peer's end of it; the clock stands still."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(20)
    stream = Stream(ours, "mx", lambda: 0.0)
    yield stream, theirs
    stream.close()
    theirs.close()


def test_a_reply_is_read_across_pieces(pair):
    stream, peer = pair
    peer.sendall(b"250-one\r\n25")
    threading.Timer(0.01, peer.sendall, [b"0 two\r\n"]).start()
    assert stream.read_reply(Phase.EHLO, 20) == Reply(250, ("one", "two"))


def test_pipelined_replies_come_one_by_one(pair):
    stream, peer = pair
    peer.sendall(b"250 one\r\n550 two\r\n")
    assert [stream.read_reply(Phase.RCPT, 20).code for _ in range(2)] == [250, 550]


def test_a_dripping_peer_gets_no_more_time_than_the_phase_has():
    ours, theirs = socket.socketpair()
    ticks = itertools.count(0, 20)

    def clock():  # at every look some octets more have come, and 20 s have gone
        theirs.sendall(b"250-never ending\r\n")
        return next(ticks)

    stream = Stream(ours, "mx", clock)
    with pytest.raises(TransientError) as caught:
        stream.read_reply(Phase.RCPT, 60)
    assert (caught.value.status, caught.value.text) == ("4.4.2", "mx timed out after 60 s in RCPT")
    assert next(ticks) == 80
    ours.close()
    theirs.close()


def test_a_silent_peer_times_out(pair):
    stream, _ = pair
    with pytest.raises(TransientError, match=r"timed out after 0\.01 s in GREETING") as caught:
        stream.read_reply(Phase.GREETING, 0.01)
    assert caught.value.status == "4.4.2"


def test_a_peer_that_hangs_up_is_a_bad_connection(pair):
    stream, peer = pair
    peer.sendall(b"250-not all")
    peer.close()
    with pytest.raises(TransientError, match="connection to mx lost in DATA: closed by the peer") as caught:
        stream.read_reply(Phase.DATA, 20)
    assert caught.value.status == "4.4.2"


def test_writing_to_nobody_is_a_bad_connection(pair):
    stream, peer = pair
    peer.close()
    stream.write(b"x" * 1_000_000, Phase.MAIL, 20)
    with pytest.raises(TransientError, match="connection to mx lost in MAIL") as caught:
        stream.read_reply(Phase.MAIL, 20)
    assert caught.value.status == "4.4.2"


def test_writing_to_somebody_who_never_reads_times_out(pair):
    stream, _ = pair
    with pytest.raises(TransientError, match=r"timed out after 0\.01 s in CONTENT"):
        stream.write(b"x" * 10_000_000, Phase.CONTENT, 0.01)


def test_the_peer_spoke_early_if_and_only_if_something_came(pair):
    stream, peer = pair
    assert not stream.early(0)
    peer.sendall(b"421 bye\r\n")
    assert stream.early(0)
    assert stream.read_reply(Phase.MAIL, 20).code == 421
    assert not stream.early(0)
    peer.close()
    assert stream.early(0)


def test_a_second_reply_in_one_packet_is_early_too(pair):
    stream, peer = pair
    peer.sendall(b"250 ok\r\n250 ok\r\n")
    stream.read_reply(Phase.MAIL, 20)
    assert stream.early(0)


def test_a_refused_connection_is_no_answer():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(TransientError) as caught:
        connect("127.0.0.1", port, 20, "mx")
    assert (caught.value.status, caught.value.text) == ("4.4.1", "connect to mx: Connection refused")


def test_a_connection_that_is_not_taken_times_out():
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        port = server.getsockname()[1]
        waiting = []
        with pytest.raises(TransientError) as caught:
            waiting.extend(
                connect("127.0.0.1", port, 0.01, "mx") for _ in range(20)
            )  # some fit into the kernel's queue
        for sock in waiting:
            sock.close()
    assert (caught.value.status, caught.value.text) == ("4.4.1", "connect to mx: timed out")


def test_both_families_connect_without_delay():
    for family, address in [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]:
        with socket.create_server((address, 0), family=family) as server:
            sock = connect(address, server.getsockname()[1], 20, "mx")
            Stream(sock, "mx", time.monotonic)
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            sock.close()


@pytest.mark.parametrize("name", ["localhost", "mx.example.org", "", "127.1", "::1::", "[::1]"])
def test_a_name_is_never_resolved(name):
    with pytest.raises(UsageError, match="not a numeric IP address"):
        connect(name, 25, 20, "mx")


def test_no_socket_to_give_is_a_local_fault(monkeypatch):
    def none_left(*_):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(socket, "socket", none_left)
    with pytest.raises(TransientError) as caught:
        connect("127.0.0.1", 25, 20, "mx")
    assert caught.value.status == "4.3.0"


def test_an_alarm_cuts_the_wait_for_a_reply(pair):
    stream, _ = pair

    def ring(*_):
        raise DeadlineExceeded

    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        with pytest.raises(DeadlineExceeded):
            stream.read_reply(Phase.DATA, 20)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_signal_that_raises_nothing_does_not_disturb(pair):
    stream, peer = pair
    before = signal.signal(signal.SIGALRM, lambda *_: peer.sendall(b"250 ok\r\n"))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        assert stream.read_reply(Phase.DATA, 20).code == 250
    finally:
        signal.signal(signal.SIGALRM, before)


def test_the_tls_version_is_told_and_what_came_in_clear_is_dropped(serve, server_tls):
    def script(peer):
        peer.say("220 go", "250 injected")
        peer.start_tls(server_tls)
        peer.expect("EHLO x")
        peer.say("250 secure")

    stream = Stream(connect("127.0.0.1", serve(script), 20, "mx"), "mx", time.monotonic)
    assert stream.read_reply(Phase.STARTTLS, 20).code == 220
    assert not stream.secured
    assert stream.early(0)
    stream.start_tls(opportunistic(), "mx.example.org", 20)
    assert stream.secured == "TLSv1.3"
    assert not stream.early(0)
    stream.write(b"EHLO x\r\n", Phase.EHLO, 20)
    assert stream.read_reply(Phase.EHLO, 20).text == "secure"
    stream.close()


@pytest.mark.parametrize("answer", [b"220 this is no TLS\r\n" * 5, b""])
def test_a_handshake_that_breaks_is_told_apart(pair, answer):
    stream, peer = pair
    if answer:
        peer.sendall(answer)
    else:
        peer.close()
    with pytest.raises(HandshakeFailed) as caught:
        stream.start_tls(opportunistic(), "mx.example.org", 20)
    assert caught.value.status == "4.7.5"


def test_a_handshake_that_hangs_times_out(pair):
    stream, _ = pair
    with pytest.raises(HandshakeFailed, match="timed out"):
        stream.start_tls(opportunistic(), "mx.example.org", 0.01)


@pytest.mark.parametrize("name", ["", ".mx", "x" * 300, "mü"])
def test_a_name_that_no_certificate_can_bear_fails_the_handshake_only(pair, name):
    stream, peer = pair
    peer.close()
    with pytest.raises(HandshakeFailed):
        stream.start_tls(opportunistic(), name, 20)


def test_no_codec_is_loaded_by_connecting_and_starting_tls(serve, server_tls):
    def script(peer):
        peer.start_tls(server_tls)
        peer.say("220 hello")

    program = f"""
import sys, time
from mailspool.model.phase import Phase
from mailspool.smtp.stream import Stream, connect
from mailspool.tls.context import preload, opportunistic
preload()
before = set(sys.modules)
stream = Stream(connect("127.0.0.1", {serve(script)}, 20, "mx"), "mx", time.monotonic)
stream.start_tls(opportunistic(), "mx.example.org", 20)
stream.read_reply(Phase.GREETING, 20)
print(*sorted(set(sys.modules) - before))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == []


def test_closing_twice_does_no_harm(pair):
    stream, _ = pair
    stream.close()
    stream.close()


class Clock:
    """It goes on by a second each time it is asked for."""

    now = 0.0

    def __call__(self):
        self.now += 1.0
        return self.now


def test_a_reply_that_has_begun_must_come_at_a_pace():
    ours, theirs = socket.socketpair()
    clock = Clock()

    def dripping():
        theirs.sendall(b"250-x\r\n")
        return clock()

    stream = Stream(ours, "mx", dripping, 1000.0)
    with pytest.raises(TransientError) as caught:
        stream.read_reply(Phase.EHLO, 3000)
    assert (caught.value.status, caught.value.text) == ("4.4.2", "mx is slower than 1000 octets/s in EHLO")
    assert GRACE <= clock.now < GRACE + 10
    ours.close()
    theirs.close()


def test_the_reply_to_a_final_dot_may_drip_as_long_as_its_timeout_allows():
    ours, theirs = socket.socketpair()
    clock = Clock()

    def dripping():
        theirs.sendall(b"250-x\r\n" if clock.now < 300 else b"250 taken\r\n")
        return clock()

    stream = Stream(ours, "mx", dripping, 1000.0)
    assert stream.read_reply(Phase.FINAL, 600).code == 250
    ours.close()
    theirs.close()


def test_a_reply_that_has_not_begun_is_waited_for_as_long_as_its_timeout_allows(pair):
    _, peer = pair
    stream = Stream(pair[0]._socket, "mx", Clock(), 1000.0)
    threading.Timer(0.05, peer.sendall, [b"250 at last\r\n"]).start()
    assert stream.read_reply(Phase.RCPT, 20).code == 250


def test_content_must_be_taken_at_a_pace():
    ours, theirs = socket.socketpair()
    stream = Stream(ours, "mx", time.monotonic, 1e12)
    with pytest.raises(TransientError) as caught:  # what the socket holds is taken, and not fast enough
        stream.write(b"x" * 50_000_000, Phase.CONTENT, 0.05)
    assert (caught.value.status, caught.value.text) == ("4.4.2", "mx is slower than 1000000000000 octets/s in CONTENT")
    ours.close()
    theirs.close()


def test_who_takes_content_at_that_pace_is_not_cut_off_though_it_takes_longer_than_the_timeout_of_a_block():
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    ticks = itertools.count(0.0, 0.05)

    def taking_all():
        with suppress(BlockingIOError):
            while theirs.recv(1 << 20):
                pass
        return next(ticks)

    stream = Stream(ours, "mx", taking_all, 100_000.0)
    stream.write(b"x" * 50_000_000, Phase.CONTENT, 1)
    assert next(ticks) > 1
    ours.close()
    theirs.close()


def test_each_message_has_a_grace_of_its_own():
    ours, theirs = socket.socketpair()
    clock = Clock()
    stream = Stream(ours, "mx", clock, 1_000_000.0)
    for _ in range(50):
        stream.write(b"x" * 100, Phase.CONTENT, 20)
        theirs.recv(1000)
        stream.write(b".", Phase.FINAL, 20)
        theirs.recv(1000)
        clock.now += 15
    ours.close()
    theirs.close()


@pytest.fixture
def tcp():
    """As `pair`, over TCP."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        stream = Stream(connect("127.0.0.1", server.getsockname()[1], 20, "mx"), "mx", time.monotonic)
        theirs, _ = server.accept()
    theirs.settimeout(20)
    yield stream, theirs
    stream.close()
    theirs.close()


def test_what_is_said_together_leaves_in_one_piece_and_waits_for_nothing_when_all_is_said(tcp):
    stream, peer = tcp
    with stream.together():
        stream.write(b"MAIL FROM:<>\r\n", Phase.MAIL, 20)
        assert stream._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_CORK)
        stream.write(b"RSET\r\n", Phase.MAIL, 20)
    assert not stream._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_CORK)
    assert stream._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert peer.recv(100) == b"MAIL FROM:<>\r\nRSET\r\n"


def test_what_was_said_before_an_error_leaves_all_the_same(tcp):
    stream, peer = tcp

    def say_and_fail():
        with stream.together():
            stream.write(b"RSET\r\n", Phase.MAIL, 20)
            raise DeadlineExceeded

    with pytest.raises(DeadlineExceeded):
        say_and_fail()
    assert peer.recv(100) == b"RSET\r\n"


def test_a_connection_that_was_lost_meanwhile_is_for_who_reads_to_learn(tcp):
    stream, peer = tcp
    with stream.together():
        stream.write(b"RSET\r\n", Phase.MAIL, 20)
        stream.close()
    assert peer.recv(100) == b"RSET\r\n"


def test_the_last_words_of_a_lost_connection_are_heard_before_its_loss(pair):
    stream, peer = pair
    stream.write(b"NOOP\r\n", Phase.MAIL, 20)
    peer.send(b"250 taken\r\n421 going down\r\n")
    peer.close()  # with something unread: what is sent to it from now on is answered by a reset
    for _ in range(2):
        stream.write(b"MAIL FROM:<>\r\n", Phase.MAIL, 20)
    assert stream.read_reply(Phase.FINAL, 20).code == 250
    assert stream.beyond(1) is None  # that nothing more can come is no reply to nothing
    assert stream.early(1)
    assert stream.read_reply(Phase.FINAL, 20).code == 421
    with pytest.raises(TransientError, match=r"lost in MAIL: Broken pipe"):
        stream.read_reply(Phase.FINAL, 20)

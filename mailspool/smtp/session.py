# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""One SMTP session: the rules of `dialogue` spoken over a `stream`, from connect to QUIT (RFC 5321 §3.1 to §3.8).

Where the peer offers PIPELINING, a message's commands go out with the final dot of the one before it (RFC 2920 §3.1);
where it offers CHUNKING too, small messages go out whole behind others whose replies are still due, one more at once
with each that is taken. Each is settled by its own reply.
Between two messages a session is either in order or closed: whatever cuts it short, an exception out of a signal
handler too, closes it. It never writes a final dot without having told its watch first, and asked its sender.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Self

from mailspool.errors import DeliveryError, TransientError
from mailspool.model.credentials import Credentials
from mailspool.model.envelope import Envelope, Recipient
from mailspool.model.outcome import Delivered, Outcome
from mailspool.model.phase import Phase, Watch, nobody_watches
from mailspool.model.status import BAD_CONNECTION
from mailspool.model.timeouts import Timeouts
from mailspool.smtp.channel import Channel
from mailspool.smtp.dialogue import Dialogue
from mailspool.smtp.flight import Flight
from mailspool.smtp.letter import Letter, always
from mailspool.smtp.reply import Judge, judge_by_code
from mailspool.smtp.steps import Say, Talk
from mailspool.smtp.stream import HandshakeFailed, Stream, connect
from mailspool.smtp.transaction import WINDOW, Transaction
from mailspool.tls.policy import NO_TLS, TlsLevel, TlsPolicy

if TYPE_CHECKING:
    import socket

WIDEST = 10
"""Messages past their final dots at once: so many copies can a lost connection cost. See docs/architecture.md."""


class Session:
    """host: "mx.example.org[192.0.2.1]:25". transcript: what was said. `open` makes one.

    room: how many letters it can make use of at once.
    The watch is called whenever the session begins to wait anew, with the most seconds that this may take.
    """

    def __init__(
        self, stream: Stream, dialogue: Dialogue, name: str, *, timeouts: Timeouts, tls: TlsPolicy, watch: Watch
    ) -> None:
        self.host = dialogue.host
        self.room, self._widest = 1, WIDEST  # as far as it may grow with what goes whole behind others
        self._channel = Channel(stream, self.host, name, timeouts, tls, watch)
        self.transcript = self._channel.transcript
        self._dialogue = dialogue
        self._sends_ahead = False  # letters whole, behind others
        self._flights: deque[Flight] = deque()  # in the order in which they began
        self._waiting: deque[Letter] = deque()  # to be begun when there is room
        self._out_of_turn = False  # the peer has said more than is due: nothing new is begun
        self._told: Flight | None = None  # the one before the first

    @classmethod
    def open(
        cls,
        address: str,
        port: int,
        name: str,
        helo_name: str,
        *,
        timeouts: Timeouts,
        tls: TlsPolicy,
        watch: Watch = nobody_watches,
        judge: Judge = judge_by_code,
        credentials: Credentials | None = None,
        connection: "socket.socket | None" = None,
        clock: Callable[[], float] = time.monotonic,
        min_rate: float = 0.0,
    ) -> Self:
        """A session that is ready for mail: connected, greeted, in TLS as `tls` and the credentials demand, logged in.

        address: numeric, IPv4 or IPv6. name: the host's name, for logs and its certificate. helo_name: our own.
        connection: one to that address that somebody else has opened, of which nothing was read.
        clock: monotonic, in seconds. min_rate: octets per second, see `pace`.
        Where TLS may be but need not, a handshake that fails is answered by one more connection, in clear. Raises
        TransientError, of which LoginFailed is one; PermanentError where the host refuses for good (5yz).
        """
        host = f"{name}[{address}]:{port}"
        note = f"connected to {host}"
        if credentials:
            tls = tls.at_least(TlsLevel(credentials.tls))
        while True:
            watch(Phase.CONNECT, host, timeouts.connect)
            stream = Stream(connection or connect(address, port, timeouts.connect, host), host, clock, min_rate)
            connection = None
            dialogue = Dialogue(host, helo_name, judge, credentials)
            session = cls(stream, dialogue, name, timeouts=timeouts, tls=tls, watch=watch)
            session.transcript.note(note)
            try:
                session._greet(tls)
            except HandshakeFailed as error:
                if tls.required:
                    raise
                tls, note = NO_TLS, f"connected to {host} again, in clear: {error.text}"
            else:
                return session

    @property
    def alive(self) -> bool:
        """Whether another message may be sent. False also if the peer has hung up, or spoken, in the meantime."""
        return not (self._dialogue.over or self._out_of_turn or self._channel.early)

    @property
    def over(self) -> bool:
        """Whether it has ended; of letters that were begun there may still be something to be told."""
        return self._dialogue.over

    def has_begun(self, letter: Letter) -> bool:
        """Whether its outcome is told next, and something of it may have been said."""
        return bool(self._flights) and self._flights[0].letter is letter

    def is_next(self, letter: Letter) -> bool:
        """Whether it may be the next one: it was begun, and what became of it is to be read, or nothing else was."""
        return self.has_begun(letter) if self._flights else self.alive

    def past_dot(self, letter: Letter) -> bool:
        """Whether its final dot may have been said, and no outcome told."""
        for flight in self._flights:
            if flight.letter is letter:
                return flight.committed
        return False

    @property
    def untouched(self) -> bool:
        """Whether the session ended before the peer can have taken anything of the last letter for a message."""
        return self._dialogue.over and self._told is not None and self._told.untouched

    @property
    def names(self) -> frozenset[str]:
        """What the peer called itself, in lower case: if that is our own name, mail may be in a loop."""
        return frozenset(self._dialogue.names)

    @property
    def locked_out(self) -> str:
        """What a peer said that takes no mail before a login, or TLS (530); "" if none did."""
        return self._dialogue.locked_out

    @property
    def secured(self) -> str:
        """The TLS version, as "TLSv1.3"; "" in clear."""
        return self._channel.secured

    def send(
        self,
        envelope: Envelope,
        recipients: Sequence[Recipient],
        content_file: IO[bytes],
        seal: Callable[[], object] = always,
    ) -> list[Outcome]:
        """One letter by itself, see `exchange`."""
        return self.exchange([Letter(envelope, recipients, content_file, seal)])

    def exchange(self, letters: Sequence[Letter]) -> list[Outcome]:
        """Of the first letter: an outcome for each of its recipients, in their order, without attempts.

        Those behind it may be begun on the way, but whoever began one must have it told next, in order, or close the
        session. What keeps one of them from being begun is raised when it comes first.
        Deferred.refused: the session is over. Raises what `seal` raises; Unreadable or SpoolError where the message is
        not what its envelope says or cannot be read; then, as after any exception, the session is closed and the peer
        has discarded what it had.
        """
        self._waiting = deque(letters[len(self._flights) :])
        try:
            if not self._flights:
                self._launch(self._waiting.popleft())
            head = self._flights[0]
            assert head.letter is letters[0]
            if self._waiting:
                self._launch_more()
            while head.step:
                self._hear(head)
                if self._waiting:
                    self._launch_more()
            self._flights.popleft()
            self._channel.untold -= head.committed
        except BaseException:
            if self._flights:
                self._flights.popleft()
            self.close()
            raise
        finally:
            self._waiting.clear()
        if self._dialogue.over:
            self.close()
        self._told = head
        outcomes: list[Outcome] = head.result
        if self._sends_ahead and self.room < self._widest and any(isinstance(each, Delivered) for each in outcomes):
            self.room += 1
        return outcomes

    def send_singly(self) -> None:
        """From now on nothing goes whole behind a letter that is not answered: the host loses connections."""
        self._widest = 1
        if self._sends_ahead:
            self.room = 1

    def quit(self) -> None:
        """Say goodbye and close. No error matters here: what was delivered stays delivered.

        What was begun and is not told is discarded without a word: who knows what the peer would take it for?
        """
        if not self._flights and self.alive:
            with suppress(DeliveryError):
                self._run(self._dialogue.quit())
        self.close()

    def close(self) -> None:
        """At once, without QUIT: the peer discards a message that is not complete."""
        self._dialogue.over = True
        self._channel.close()
        self._lose(TransientError(BAD_CONNECTION, "", f"the session with {self.host} was given up"))

    # --- talks under way

    def _greet(self, tls: TlsPolicy) -> None:
        self._run(self._dialogue.greet(tls))
        peer = self._dialogue.extensions
        self._sends_ahead = peer.chunking and peer.pipelining
        if peer.pipelining and not peer.chunking:
            self.room = 2  # the next one's commands go out with a final dot

    def _run(self, talk: Talk[None]) -> None:
        """One talk by itself."""
        try:
            flight = self._start(Flight(talk))
            while flight.step:
                self._hear(flight)
            self._flights.clear()
        except BaseException:
            self._flights.clear()
            self.close()
            raise
        if self._dialogue.over:
            self.close()

    def _launch(self, letter: Letter) -> None:
        self._start(self._flight(letter))

    def _flight(self, letter: Letter) -> Flight:
        return Flight(Transaction(self._dialogue, letter, behind=bool(self._flights)).talk(), letter)

    def _start(self, flight: Flight) -> Flight:
        self._flights.append(flight)
        if flight.go_on():
            self._speak(flight)
        return flight

    def _launch_more(self) -> None:
        """Begin what may go behind those that are past their final dots, as much as there is room for, in one piece."""
        if not self._has_room():
            return
        self._out_of_turn = self._channel.early
        if self._out_of_turn:
            return
        with self._channel.together():
            while self._waiting and self._has_room():
                try:
                    self._launch(self._waiting.popleft())
                except Exception:  # noqa: BLE001 - nothing of it was said; it is raised when nobody is hurt by it any more
                    self._flights.pop()
                    self._waiting.clear()

    def _has_room(self) -> bool:
        last, peer = self._flights[-1], self._dialogue
        if not (last.committed or last.step is None) or peer.over or self._out_of_turn:
            return False
        return self._sends_ahead and self._channel.due < WINDOW and len(self._flights) < self.room

    def _open_next(self) -> Say | None:
        """The commands of the next letter, which may go out with a final dot; None if there is none to be begun.

        Not where messages go by BDAT: there each brings its own content along.
        """
        peer = self._dialogue.extensions
        if not self._waiting or peer.chunking or not peer.pipelining:
            return None
        flight = self._flight(self._waiting.popleft())
        try:
            step = flight.go_on()
        except Exception:  # noqa: BLE001 - as above
            self._waiting.clear()
            return None
        self._flights.append(flight)
        return step if isinstance(step, Say) else None

    def _hear(self, flight: Flight) -> None:
        """Replies go to the oldest talk that waits for some."""
        assert flight.step
        try:
            replies = self._channel.read(flight.step)
        except TransientError as error:
            self._lose(error)
        else:
            if flight.go_on(replies):
                self._speak(flight)
            if self._dialogue.over:
                ended = TransientError(BAD_CONNECTION, "", f"the session with {self.host} had ended before its turn")
                self._lose(ended, missed=self._dialogue.hung_up)

    def _lose(self, error: TransientError, *, missed: bool = False) -> None:
        for flight in list(self._flights):
            if flight.step:
                flight.fail(error, missed=missed)

    def _speak(self, flight: Flight) -> None:
        """Say what the talk wants. If the peer has spoken before that could be said, the session ends with it."""
        while True:
            try:
                replies = self._channel.write(flight, self._open_next)
            except TransientError as error:
                self._lose(error)
                return
            if not replies:
                return
            self._dialogue.over = True
            if not flight.go_on(replies):
                return

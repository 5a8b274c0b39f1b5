# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""A scriptable SMTP server on loopback: takes mail, remembers it byte for byte, and misbehaves on demand.

What a listener does to everybody is said when it is made; what it does to one recipient, by the recipient's local part.
"""

import asyncio
import threading
import time
from contextlib import suppress
from typing import NamedTuple

RECIPIENTS = {
    "later": b"450 4.2.1 Mailbox is busy\r\n",
    "never": b"550 5.1.1 No such user here\r\n",
    "bye": b"421 4.3.2 Going down\r\n",
    "less": b"450 4.7.1 Error: too many messages from you\r\n",
    "later30": b"450 4.2.1 Please try again in 30 seconds\r\n",
}
"""Replies to RCPT by local part (as far as its first "+"). Further local parts: see `Talk`."""

EXTENSIONS = ("PIPELINING", "SIZE 0", "8BITMIME", "ENHANCEDSTATUSCODES", "DSN", "SMTPUTF8")
CHUNKING = (*EXTENSIONS, "CHUNKING")


class Mail(NamedTuple):
    """One message as it was taken. content: without dot-stuffing, in CRLF form. at: monotonic seconds."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    at: float

    @property
    def queue_id(self):
        """The id in the topmost Received field."""
        return self.content.partition(b"\tid ")[2].partition(b";")[0].decode()


class Sink:
    """greeting: "at once", "hang" (accept, never greet), "drip" (one octet now and then), or a line to refuse with.

    at_quit: "bye", "drop" (close without a word). stall: a verb, or "." for the final dot, that is never answered.
    flood: a verb, or "greeting", that is answered by lines without end. `hold`: replies to the final dot wait until
    `release`. pause: seconds until each of them. extensions: what it offers.
    `clients`: connections now; `most`: at once, ever; `accepted`: all.
    """

    def __init__(
        self,
        *,
        greeting="at once",
        at_quit="bye",
        stall="",
        flood="",
        name="sink.test",
        keep=True,
        hold=False,
        pause=0.0,
        host="127.0.0.1",
        port=0,
        extensions=EXTENSIONS,
    ):
        self.extensions, self.pause = extensions, pause
        self.stall, self.flood = stall, flood
        self.greeting, self.at_quit, self.name, self.keep = greeting, at_quit, name, keep
        self.mails: list[Mail] = []
        self.octets = 0
        self.clients = self.most = self.accepted = self.waiting = 0
        self.cuts: list[float] = []  # how long each client that was never greeted stayed, in seconds
        self.commands: list[bytes] = []
        self.known: set[str] = set()  # who came once and was greylisted
        self.may_reply = threading.Event()
        if not hold:
            self.may_reply.set()
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(
            asyncio.start_server(self._serve, host, port, limit=1 << 20, backlog=1024)
        )
        self.port = self._server.sockets[0].getsockname()[1]
        self.host, self.address = host, f"{host}:{self.port}"
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    @property
    def recipients(self):
        """Of all mails, in the order in which they came."""
        return [recipient for mail in self.mails for recipient in mail.recipients]

    def hold(self):
        self.may_reply.clear()

    def release(self):
        self.may_reply.set()

    def close(self):
        self.may_reply.set()
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _end(self):
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader, writer):
        self.clients += 1
        self.accepted += 1
        self.most = max(self.most, self.clients)
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await Talk(self, reader, writer).run()
        finally:
            self.clients -= 1
            writer.close()


class Talk:
    """One connection.

    Local parts beside those in RECIPIENTS: "wait" gets its reply to RCPT only on `release`; "cut" drops the connection
    instead of a reply to the final dot, "lost" too but the message is taken; "full" gets 452 there and "spam" 554;
    "grey" is greylisted the first time; of what is for "crawl" little is taken at a time, and never all.
    """

    def __init__(self, sink, reader, writer):
        self.sink, self.reader, self.writer = sink, reader, writer
        self.sender, self.accepted, self.chunks = None, [], []

    async def run(self):
        if not await self.greet():
            return
        while line := await self.reader.readline():
            self.sink.commands.append(line)
            verb = line.split(b":")[0].split()[0].upper().decode() if line.strip() else ""
            if verb == self.sink.stall:
                await self.reader.read()  # until the client has had enough
                return
            if verb == self.sink.flood:
                await self.say_for_ever(b"250-and another thing\r\n")
            if not await getattr(self, verb.lower(), self.unknown)(line):
                return

    async def say(self, octets):
        self.writer.write(octets)
        await self.writer.drain()
        return True

    async def say_for_ever(self, line):
        while not self.reader.at_eof():
            await self.say(line * 1000)

    async def greet(self):
        if self.sink.flood == "greeting":
            await self.say_for_ever(b"220-and welcome\r\n")
        match self.sink.greeting:
            case "at once":
                return await self.say(f"220 {self.sink.name} ESMTP\r\n".encode())
            case "hang":
                began = time.monotonic()
                await self.reader.read(1)
                self.sink.cuts.append(time.monotonic() - began)
            case "drip":
                began = time.monotonic()
                with suppress(OSError):
                    while not self.reader.at_eof():
                        await self.say(b"2")
                        with suppress(TimeoutError):
                            await asyncio.wait_for(self.reader.read(1), 0.05)
                self.sink.cuts.append(time.monotonic() - began)
            case line:
                await self.say(f"{line}\r\n".encode())
        return False

    async def ehlo(self, _line):
        lines = [self.sink.name, *self.sink.extensions]
        return await self.say(b"".join(f"250{'- '[at == len(lines)]}{t}\r\n".encode() for at, t in enumerate(lines, 1)))

    async def mail(self, line):
        """Strict, as others are: what a transaction that failed has left must have been cleared."""
        if self.sender is not None:
            return await self.say(b"503 5.5.1 Nested MAIL\r\n")
        self.sender = address_in(line)
        return await self.say(b"250 2.1.0 Ok\r\n")

    async def rcpt(self, line):
        address = address_in(line)
        if self.sender is None:
            return await self.say(b"503 5.5.1 Need MAIL\r\n")
        if kind_of(address) == "wait":
            await self.may_go_on()
        reply = RECIPIENTS.get(kind_of(address), b"250 2.1.5 Ok\r\n")
        if kind_of(address) == "grey" and address not in self.sink.known:
            self.sink.known.add(address)
            reply = b"450 4.7.1 Greylisted, please try again in 300 seconds\r\n"
        if reply.startswith(b"2"):
            self.accepted.append(address)
        await self.say(reply)
        return not reply.startswith(b"421")

    async def data(self, _line):
        if not self.accepted:
            return await self.say(b"554 5.5.1 No valid recipients\r\n")
        await self.say(b"354 Go on\r\n")
        if "crawl" in map(kind_of, self.accepted):
            while await self.reader.read(1 << 16):  # noqa: ASYNC110 - to be slow is the point
                await asyncio.sleep(0.01)
            return False
        return await self.finish(await self.content())

    async def bdat(self, line):
        """RFC 3030. What nobody was accepted for is thrown away, and the transaction stays open until RSET."""
        size, *last = line.split()[1:]
        chunk = await self.reader.readexactly(int(size))
        self.sink.octets += len(chunk)
        if not self.accepted:
            return await self.say(b"503 5.5.1 No valid recipients\r\n")
        self.chunks.append(chunk)
        return await (self.finish(b"".join(self.chunks)) if last else self.say(b"250 2.0.0 Ok: more\r\n"))

    async def finish(self, content):
        if self.sink.stall == ".":
            self.sink.waiting += 1
            await self.reader.read()
            return False
        sender, accepted = self.sender, self.accepted
        self.clear()
        kinds = {kind_of(address) for address in accepted}
        if "cut" in kinds:
            return False
        if "full" in kinds:
            return await self.say(b"452 4.3.1 Disk is full\r\n")
        if "spam" in kinds:
            return await self.say(b"554 5.7.1 We do not want it\r\n")
        self.sink.mails.append(Mail(sender, tuple(accepted), content, time.monotonic()))
        if "lost" in kinds:
            return False
        await self.may_go_on()
        await asyncio.sleep(self.sink.pause)
        return await self.say(b"250 2.0.0 Ok: taken\r\n")

    def clear(self):
        self.sender, self.accepted, self.chunks = None, [], []

    async def may_go_on(self):
        self.sink.waiting += 1
        while not self.sink.may_reply.is_set():  # noqa: ASYNC110 - it is set in another thread
            await asyncio.sleep(0.01)
        self.sink.waiting -= 1

    async def content(self):
        lines = []
        while (line := await self.reader.readuntil(b"\r\n")) != b".\r\n":
            self.sink.octets += len(line)
            if self.sink.keep:
                lines.append(line[1:] if line.startswith(b".") else line)
        return b"".join(lines)

    async def rset(self, _line):
        self.clear()
        return await self.say(b"250 2.0.0 Ok\r\n")

    async def quit(self, _line):
        if self.sink.at_quit == "bye":
            await self.say(b"221 2.0.0 Bye\r\n")
        return False

    async def unknown(self, _line):
        return await self.say(b"500 5.5.1 What?\r\n")


def address_in(line):
    return line.partition(b"<")[2].partition(b">")[0].decode()


def kind_of(address):
    return address.partition("@")[0].partition("+")[0]

# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""A scripted SMTP server on loopback: each connection is a plain function that says and hears in its own thread."""

import socket
import threading

import pytest

PATIENCE = 20  # seconds until a test that hangs fails


class Peer:
    """One accepted connection, as its script sees it."""

    def __init__(self, sock):
        sock.settimeout(PATIENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = sock
        self._unread = b""

    def say(self, *lines):
        self.socket.sendall(b"".join(line.encode() + b"\r\n" for line in lines))

    def hear(self):
        """One line without its CRLF; "" at the end."""
        return self._until(b"\r\n").removesuffix(b"\r\n").decode()

    def expect(self, *lines):
        assert [self.hear() for _ in lines] == list(lines)

    def hear_content(self):
        """All until the final dot, as it came over the wire."""
        content = b""
        while (line := self._until(b"\r\n")) != b".\r\n":
            assert line, f"the client hung up after {content[-80:]!r}"
            content += line
        return content

    def hear_octets(self, size):
        while len(self._unread) < size and (octets := self.socket.recv(65536)):
            self._unread += octets
        found, self._unread = self._unread[:size], self._unread[size:]
        return found

    def hear_end(self):
        """What still comes until the client hangs up."""
        rest, self._unread = self._unread, b""
        try:
            while octets := self.socket.recv(65536):
                rest += octets
        except ConnectionResetError:
            pass
        return rest

    def start_tls(self, context):
        self.socket = context.wrap_socket(self.socket, server_side=True)

    def greet(self, *extensions):
        self.say("220 mx.example.org ESMTP")
        self.expect("EHLO client.example.net")
        *more, last = ["mx.example.org", *extensions]
        self.say(*(f"250-{line}" for line in more), f"250 {last}")

    def _until(self, end):
        while end not in self._unread and (octets := self.socket.recv(65536)):
            self._unread += octets
        found = self._unread.find(end) + len(end) if end in self._unread else len(self._unread)
        line, self._unread = self._unread[:found], self._unread[found:]
        return line


class Server:
    """Accepts as many connections as there are scripts, one after the other."""

    def __init__(self, scripts):
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(PATIENCE)
        self.port = self._listening.getsockname()[1]
        self._scripts = scripts
        self._errors = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        try:
            for script in self._scripts:
                sock, _ = self._listening.accept()
                peer = Peer(sock)
                try:
                    script(peer)
                finally:
                    peer.socket.close()
        except BaseException as error:
            self._errors.append(error)

    def finish(self):
        self._thread.join(PATIENCE)
        self._listening.close()
        for error in self._errors:
            raise error


@pytest.fixture
def serve():
    """serve(script, …) -> port. What a script asserted in vain fails the test at its end."""
    servers = []

    def start(*scripts):
        servers.append(Server(scripts))
        return servers[-1].port

    yield start
    for server in servers:
        server.finish()

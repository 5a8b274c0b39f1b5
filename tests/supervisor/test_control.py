# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The supervisor's end of the control socket, when descriptors run out."""

import os
import resource
import select
import socket

from mailspool.supervisor.control import Control


def test_without_a_free_descriptor_who_asks_is_hung_up_on_and_the_loop_does_not_spin(tmp_path):
    control = Control(str(tmp_path), {"status": lambda about: f"fine{about}"})
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "control"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (client.fileno() + 1, before[1]))
        taken = []
        try:
            while True:  # the holes below the limit
                taken.append(os.dup(0))
        except OSError:
            pass
        try:
            control.serve()
            assert select.select([control], [], [], 0)[0] == []
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
            for descriptor in taken:
                os.close(descriptor)
        assert client.recv(100) == b""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "control"))
        client.sendall(b"status\n")
        control.serve()
        assert client.recv(100) == b"fine"
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "control"))
        client.sendall(b"status x.example\n")
        control.serve()
        assert client.recv(100) == b"finex.example"
    control.close(unlink=True)

# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Accepts a number of messages at once, each to one recipient, and prints their ids.

python -m tests.lab.fill CONFIG MESSAGES
"""

import sys

from mailspool.spool import Spool

MESSAGE = "Subject: hello\n\n" + "world\n" * 50


def main(config, messages):
    spool = Spool.from_config(config)
    spool.create_dequeue_dirs()
    for number in range(int(messages)):
        print(spool.send_mail(to=f"joe{number}@x{number % 10}.example", from_="me@y.example", message=MESSAGE))


if __name__ == "__main__":
    main(*sys.argv[1:])

# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The names of this host as its files tell them. It never asks DNS: a slow server must not hold up `sendmail`."""

import os

from msgspec.structs import replace

from mailspool.config.schema import Settings


def host_name(nodename: str, mailname: str, hosts: str) -> str:
    """The host's fully qualified name, as far as it can be told; else its short one.

    nodename: what the kernel says. mailname, hosts: the text of /etc/mailname and /etc/hosts.
    """
    names = [nodename, mailname, *(name for line in hosts.splitlines() for name in line.partition("#")[0].split()[1:])]
    qualified = (name for name in names if "." in name and (name == nodename or name.startswith(f"{nodename}.")))
    return next(qualified, nodename).lower()


def machine_names() -> tuple[str, str]:
    """The default of `hostname`, and what /etc/mailname says, "" if it says nothing."""
    mailname = _read("/etc/mailname").partition("\n")[0].strip()
    return host_name(os.uname().nodename, mailname, _read("/etc/hosts")), mailname


def filled_in(settings: Settings) -> Settings:
    """With a value for each "" that stands for a default which only the machine or other options can tell."""
    hostname, mail_name = machine_names()
    hostname = settings.hostname or hostname
    mail_name = settings.mail_name or mail_name or hostname
    return replace(
        settings,
        hostname=hostname,
        mail_name=mail_name,
        postmaster_address=settings.postmaster_address or f"postmaster@{mail_name}",
        usage_log=settings.usage_log or f"{settings.dequeue_dir}/usage",
    )


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123 pathlib would cost `sendmail` ms
            return file.read()
    except OSError:
        return ""

# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Every option, declared exactly once: its name, type, limits, unit, default, help, and when a change of it counts.

The checks, `etc/mailspool.toml` and `docs/configuration.md` all derive from the class `Settings`. A change of
an option marked `restart=True` counts when the daemon is started again, that of any other with the next HUP.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from mailspool.model.tier import Tier, make_tiers
from mailspool.model.timeouts import Timeouts

Seconds = Annotated[float, Meta(ge=0, extra={"unit": " of seconds"})]
Octets = Annotated[int, Meta(ge=0, extra={"unit": " of octets"})]
Count = Annotated[int, Meta(ge=1)]
Timeout = Annotated[float, Meta(gt=0, extra={"unit": " of seconds"})]

_RFC = Timeouts()


def option(words: str, *, restart: bool = False) -> Meta:
    """What there is to say about an option beside its type and default: what it is for, and when it counts."""
    return Meta(description=words, extra={"restart": restart})


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One checked configuration. `config.load` makes it; by then every "" below that has a default is filled in."""

    dequeue_dir: Annotated[
        str, option("The spool's directory. Many hosts may share it, over NFS too.", restart=True)
    ] = "/var/spool/mailspool"
    dequeue_periods: Annotated[
        tuple[Seconds, ...],
        option("How long a node waits in each tier before it is tried; as many numbers as there are tiers."),
    ] = (0.0, 1800.0, 14400.0, 28800.0, 57600.0, 86400.0, 172800.0)
    dequeue_priority: Annotated[
        tuple[Count, ...],
        option("How rarely each tier is looked at: with one chance in so many, each `dequeue_timeout`."),
    ] = (1, 3, 9, 25, 50, 100, 200)
    dequeue_timeout: Annotated[Timeout, option("How often the dice are rolled for each tier.")] = 20.0
    max_dequeue_processes: Annotated[int, Meta(ge=1, le=1000), option("How many workers deliver at once, at most.")] = (
        20
    )
    max_connection_time: Annotated[
        Timeout,
        option("The longest that one look at one node may take, whatever its size. Then the worker is stopped."),
    ] = 21600.0
    max_age: Annotated[
        Seconds, option("A node that could not be delivered for so long bounces, even if tiers are left (5 days).")
    ] = 432000.0
    delay_notice: Annotated[
        Seconds, option("The sender is told once of a delay, when a node has waited so long; 0: never.")
    ] = 14400.0
    usage_log: Annotated[
        str,
        option(
            "The folder of the usage log, one file per owner; written only if the folder exists. "
            'Default: "usage" in `dequeue_dir`.',
            restart=True,
        ),
    ] = ""

    run_dir: Annotated[
        str,
        option(
            "Where the pid file, the lock and the control socket are. It must be on a local disk, never shared.",
            restart=True,
        ),
    ] = "/run/mailspool"
    user: Annotated[
        str,
        option(
            'Whom the supervisor becomes when root starts it. It stays root only if "root" is written here.',
            restart=True,
        ),
    ] = "mailspool"
    shutdown_timeout: Annotated[
        Seconds, option("How long deliveries in progress may take to end after TERM, before they are released.")
    ] = 30.0
    worker_nodes: Annotated[Count, option("A worker ends after so many nodes, and a fresh one takes its place.")] = 1000
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], option("The least severe lines that are logged.")
    ] = "info"

    hostname: Annotated[
        str,
        option(
            "This host's name, as said in EHLO, Received and Message-ID. Default: its fully qualified name, "
            "as far as it can be told without asking DNS."
        ),
    ] = ""
    mail_name: Annotated[
        str,
        option("The domain that completes an address without one. Default: what is in /etc/mailname, else `hostname`."),
    ] = ""
    postmaster_address: Annotated[
        str, option("Who is told of what nobody else can be told of. Default: postmaster at `mail_name`.")
    ] = ""
    max_message_size: Annotated[Octets, option("Larger messages are not accepted; 0: any size is.")] = 0
    max_hops: Annotated[
        Count, option("A message with more Received fields than this is in a loop, and bounces (RFC 5321 §6.3).")
    ] = 50
    bounce_size_limit: Annotated[
        Octets, option("A bounce returns the whole of a message up to this size, of a larger one only its header.")
    ] = 50000

    smarthost: Annotated[
        str,
        option(
            'Where all mail goes that no route matches, as "mx.example.net:587". Default: to each domain\'s own hosts.'
        ),
    ] = ""
    routes: Annotated[
        dict[str, str],
        option(
            "Where the mail for some domains goes, by pattern; the first that matches counts. "
            'One line for each: routes."example.org" = "mx.example.net:587"'
        ),
    ] = {}
    smtp_port: Annotated[int, Meta(ge=1, le=65535), option("The port to connect to where no route names one.")] = 25
    nameservers: Annotated[
        tuple[str, ...], option("IP addresses of the DNS servers to ask. Default: those in /etc/resolv.conf.")
    ] = ()
    dns_timeout: Annotated[Timeout, option("How long one look-up may take, with all its repetitions.")] = 15.0
    address_families: Annotated[
        Literal["both", "ipv4", "ipv6"], option("Over which kinds of IP address to deliver.")
    ] = "both"
    tls: Annotated[
        Literal["none", "may", "encrypt", "verify"],
        option(
            "TLS towards hosts that publish no policy (DANE, MTA-STS) of their own. none: never; may: if it is "
            "offered; encrypt: or not at all; verify: and the certificate must be good for the host."
        ),
    ] = "may"
    max_per_destination: Annotated[Count, option("How many workers deliver to one destination at once, at most.")] = 10
    cool_down: Annotated[
        Seconds, option("How long a destination that refuses sessions is left alone before it is tried again.")
    ] = 60.0
    max_hosts: Annotated[Count, option("How many addresses of a destination are tried in one look, at most.")] = 10
    max_recipients: Annotated[
        Count, option("How many recipients one transaction has, at most; every server takes 100 (RFC 5321 §4.5.3.1.8).")
    ] = 100

    delivery_timeout: Annotated[
        Timeout, option("The budget of one look at one node, before the time for its size is added.")
    ] = 1200.0
    min_rate: Annotated[
        Count, option("The time for a message's size is added to the budget at so many octets per second.")
    ] = 1000
    connect_timeout: Annotated[Timeout, option("How long a TCP connection may take to come to be.")] = _RFC.connect
    greeting_timeout: Annotated[Timeout, option("The wait for a host's first words.")] = _RFC.greeting
    ehlo_timeout: Annotated[Timeout, option("The wait for the reply to EHLO.")] = _RFC.ehlo
    starttls_timeout: Annotated[Timeout, option("The wait for the reply to STARTTLS, and for the handshake.")] = (
        _RFC.starttls
    )
    mail_timeout: Annotated[Timeout, option("The wait for the reply to MAIL.")] = _RFC.mail
    rcpt_timeout: Annotated[Timeout, option("The wait for the reply to RCPT.")] = _RFC.rcpt
    data_timeout: Annotated[Timeout, option("The wait for the reply to DATA.")] = _RFC.data
    content_timeout: Annotated[Timeout, option("How long each block of the message may take to be taken.")] = (
        _RFC.content
    )
    final_timeout: Annotated[
        Timeout,
        option("The wait for the reply to the final dot. A shorter one brings second copies (RFC 1047)."),
    ] = _RFC.final
    quit_timeout: Annotated[Timeout, option("The wait for the reply to QUIT; nothing depends on it.")] = _RFC.quit

    @property
    def timeouts(self) -> Timeouts:
        """The options NAME_timeout that bound the phases of a session."""
        return Timeouts(**{name: getattr(self, f"{name}_timeout") for name in Timeouts.__struct_fields__})

    @property
    def tiers(self) -> tuple[Tier, ...]:
        """The tiers that `dequeue_periods` and `dequeue_priority` describe."""
        return make_tiers(self.dequeue_periods, self.dequeue_priority)

    def budget(self, size: int) -> float:
        """Seconds that one look at one node may take, for a message of `size` octets."""
        return min(self.delivery_timeout + size / self.min_rate, self.max_connection_time)

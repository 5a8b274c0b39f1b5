# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Every option, declared exactly once: its name, type, limits, unit, default, help, and when a change of it counts.

The checks, `etc/mailspool.toml` and `docs/configuration.md` all derive from the class `Settings`: a line `name: type =
default`, and below it the help as a string, for which only who asks for it pays. A change of an option that is
`AtStart[type]` counts when the daemon is started again, that of any other with the next HUP.
"""

from typing import Annotated, Literal, TypeVar

from msgspec import Meta, Struct

from mailspool.model.limit import Limit
from mailspool.model.tier import Tier, make_tiers
from mailspool.model.timeouts import Timeouts

Seconds = Annotated[float, Meta(ge=0, extra={"unit": "seconds"})]
Octets = Annotated[int, Meta(ge=0, extra={"unit": "octets"})]
Count = Annotated[int, Meta(ge=1)]
Rate = Annotated[int, Meta(ge=1, extra={"unit": "octets"})]
Targets = str | tuple[str, ...]
Share = Annotated[float, Meta(gt=0, le=1)]
Timeout = Annotated[float, Meta(gt=0, extra={"unit": "seconds"})]

_Type = TypeVar("_Type")
AtStart = Annotated[_Type, Meta(extra={"restart": True})]

CREDENTIALS_FILE = "/etc/mailspool/credentials"
"""Where nothing need be; a file that is named must exist."""

STOP_MARGIN = 60.0
"""Seconds that whoever stops the daemon leaves it beyond `shutdown_timeout`, for replies to a final dot: who cuts that
wait makes second copies (RFC 1047). TimeoutStopSec of etc/systemd/mailspool.service, and STOP_TIMEOUT of
init.d/mailspool and etc/default/mailspool, are at least the default and this."""

_RFC = Timeouts()


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One checked configuration. `config.load` makes it; by then every "" below that has a default is filled in."""

    dequeue_dir: AtStart[str] = "/var/spool/mailspool"
    """The spool's directory. Many hosts may share it, over NFS too: see `shared`."""

    shared: AtStart[bool] = False
    """Whether other hosts deliver from the same `dequeue_dir`. Then the daemon starts only on a host that has lately
    passed mailspool check-mount on it, as it is mounted now: see docs/nfs.md."""

    lease_time: AtStart[Annotated[float, Meta(ge=3, extra={"unit": "seconds"})]] = 60.0
    """After how long without a sign of life a host is taken for dead, so that others deliver what it had begun. It must
    be the same on all hosts; below 20 s a busy file server makes them take each other for dead."""
    # 3 s: store.lease beats BEATS times in it, so at most four times a second.

    dequeue_periods: tuple[Seconds, ...] = (0.0, 1800.0, 14400.0, 28800.0, 57600.0, 86400.0, 172800.0)
    """How long a node waits in each tier before it is tried; as many numbers as there are tiers."""

    dequeue_priority: tuple[Count, ...] = (1, 3, 9, 25, 50, 100, 200)
    """How rarely each tier is looked at: with one chance in so many, each `dequeue_timeout`."""

    dequeue_timeout: Timeout = 20.0
    """How often the dice are rolled for each tier."""

    max_dequeue_processes: Annotated[int, Meta(ge=1, le=1000)] = 20
    """How many workers deliver at once, at most. One that has waited for 5 s for the reply to a final dot, which is
    never given up early, is not counted, so that there may be more; but no more than ten times as many."""

    max_connection_time: Timeout = 21600.0
    """The longest that one look at one node may take, whatever its size. Then the worker is stopped."""

    max_age: Seconds = 432000.0
    """A node that could not be delivered for so long bounces, even if tiers are left."""

    delay_notice: Seconds = 14400.0
    """The sender is told once of a delay, when a node has waited so long; 0: never."""

    usage_log: AtStart[str] = ""
    """The folder of the usage log, one file per owner; written only if the folder exists, from a second after it was
    made. Default: "usage" in `dequeue_dir`."""

    run_dir: AtStart[str] = "/run/mailspool"
    """Where the pid file, the lock and the control socket are. It must be on a local disk, never shared."""

    user: AtStart[str] = "mailspool"
    """Whom the supervisor becomes when root starts it. It stays root only if "root" is written here."""

    shutdown_timeout: Seconds = 30.0
    """How long deliveries in progress may take to end after TERM, before they are released. TimeoutStopSec of the unit
    (`systemctl edit mailspool`), or STOP_TIMEOUT in /etc/default/mailspool, must be a minute more."""

    worker_nodes: Count = 1000
    """A worker ends after so many nodes, and a fresh one takes its place."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe lines that are logged; "debug": what was said on each session, too."""

    log_format: Literal["text", "json"] = "text"
    """What logged lines look like. The journal of systemd gets each field by its own name in any case."""

    log_file: str = ""
    """The file that lines are logged to; USR1 has it opened anew, after it was renamed. Default: syslog's mail
    facility; in the foreground standard error, or the journal if that is where standard error leads."""

    hostname: str = ""
    """This host's name, as said in EHLO, Received and Message-ID. Default: its fully qualified name, as far as it can
    be told without asking DNS."""

    mail_name: str = ""
    """The domain that completes an address without one. Default: what is in /etc/mailname, else `hostname`."""

    aliases_file: str = "/etc/aliases"
    """Who reads the mail for a name without a domain, such as cron's root; see docs/submission.md. A name that is
    not in it is refused. "": there are no aliases, and such a name is one at `mail_name`."""

    postmaster_address: str = ""
    """Who is told of what nobody else can be told of. Default: postmaster at `mail_name`."""

    max_message_size: Octets = 0
    """Larger messages are not accepted; 0: any size is."""

    max_hops: Count = 50
    """A message with more Received fields than this is in a loop, and bounces (RFC 5321 §6.3)."""

    bounce_size_limit: Octets = 50000
    """A bounce returns the whole of a message up to this size, of a larger one only its header."""

    smarthost: Targets = ""
    """Where all mail goes that no route matches: "mx.example.net:587", or "smtps://mx.example.net" where TLS comes
    first (port 465). Of several, each is tried after the one before. Default: to each domain's own hosts.
    """

    routes: dict[str, Targets] = {}
    """Where the mail for some domains goes, by pattern; the most specific one counts. One line for each:
    routes."example.org" = "mx.example.net:587", or a list as with `smarthost`; "mx" is the domain's own hosts,
    "mx:example.net" those of another.
    """

    limits: dict[str, Limit] = {}
    """What some destinations bear, by pattern; the most specific one counts. One line for each: limits."example.org" =
    { concurrency = 2, messages_per_minute = 30, messages_per_connection = 10 }, or a table [limits."example.org"].
    A pattern of domains, as with `routes`, is about each of them by itself; "mx:*.mail.example.net" is about all
    domains together whose hosts are called so. It counts for all workers of this host, and is divided by the number of
    hosts that share the spool; each keeps one connection at least. What is not named, or 0, has no limit of its own.
    """

    credentials_file: str = CREDENTIALS_FILE
    """Users and passwords for hosts that ask for them (SMTP AUTH), in TOML: see docs/smarthost.md. Nobody but the
    daemon's user, or its group, may be able to read it. The default need not exist."""

    smtp_port: Annotated[int, Meta(ge=1, le=65535)] = 25
    """The port to connect to where no route names one."""

    nameservers: tuple[str, ...] = ()
    """IP addresses of the DNS servers to ask. Default: those in /etc/resolv.conf."""

    dns_timeout: Timeout = 15.0
    """How long one look-up may take, with all its repetitions."""

    address_families: Literal["both", "ipv4", "ipv6"] = "both"
    """Over which kinds of IP address to deliver. both: while this host has no IPv6 address beyond its own links, those
    of others count only where there is no IPv4 address."""

    tls: Literal["none", "may", "encrypt", "verify"] = "may"
    """TLS towards hosts that publish no policy (DANE, MTA-STS) of their own. none: never; may: if it is offered;
    encrypt: or not at all; verify: and the certificate must be good for the host."""

    max_per_destination: Count = 10
    """How many workers deliver to one destination at once, at most. It begins with two, gets one more as often as it
    takes mail, and half as many when it refuses a session."""

    max_per_host: Count = 10
    """How many workers speak with one IP address at once, at most, whatever the destinations are; never more than half
    of all. As many as one destination may have: who serves ten thousand domains is one host."""

    unproven_share: Share = 0.75
    """Which part of the workers may be busy with destinations that have taken nothing in the last hour, all together; a
    third of that with one of them. Those that hang, however many, leave the rest to those that work."""

    cool_down: Seconds = 60.0
    """How long a destination that refuses sessions is left alone before one message finds out whether it takes mail
    again; twice as long each further time, up to an hour. Its other messages fall back untried meanwhile."""

    small_first: bool = False
    """Whether a worker tries the smaller of the messages that it was given for a destination before the larger, else
    the oldest first. It looks into each for that: no file's name tells a size. Of more than fit into one batch (two,
    while it is found out what the destination bears, then up to 100) the oldest go first in any case."""

    max_hosts: Count = 10
    """How many addresses of a destination are tried in one look, at most."""

    max_recipients: Count = 100
    """How many recipients one transaction has, at most; every server takes 100 (RFC 5321 §4.5.3.1.8)."""

    delivery_timeout: Timeout = 1200.0
    """The budget of one look at one node, before the time for its size is added."""

    min_rate: Rate = 1000
    """A host that takes a message, or gives a reply that it has begun, at fewer octets per second is given up like one
    that hangs: beyond `content_timeout` for the message, one minute for a reply; never once the final dot is said. The
    time for a message's size is added to the budget at this rate."""

    first_attempt_timeout: Seconds = 20.0
    """No answer up to the content is waited for longer than this, nor a connection, when a message is tried for the
    first time: a host that hangs holds nobody up for long. Later attempts have the patience of the options below,
    which is that of RFC 5321. 0: the first one has it too."""

    connect_timeout: Timeout = _RFC.connect
    """How long a TCP connection may take to come to be."""

    greeting_timeout: Timeout = _RFC.greeting
    """The wait for a host's first words."""

    ehlo_timeout: Timeout = _RFC.ehlo
    """The wait for the reply to EHLO."""

    starttls_timeout: Timeout = _RFC.starttls
    """The wait for the reply to STARTTLS, and for the handshake."""

    auth_timeout: Timeout = _RFC.auth
    """The wait for each reply while logging in (AUTH)."""

    mail_timeout: Timeout = _RFC.mail
    """The wait for the reply to MAIL."""

    rcpt_timeout: Timeout = _RFC.rcpt
    """The wait for the reply to RCPT."""

    data_timeout: Timeout = _RFC.data
    """The wait for the reply to DATA."""

    content_timeout: Timeout = _RFC.content
    """How long each block of the message may take to be taken."""

    final_timeout: Timeout = _RFC.final
    """The wait for the reply to the final dot. A shorter one brings second copies (RFC 1047)."""

    quit_timeout: Timeout = _RFC.quit
    """The wait for the reply to QUIT; nothing depends on it."""

    @property
    def timeouts(self) -> Timeouts:
        """The options NAME_timeout that bound the phases of a session."""
        return Timeouts(**{name: getattr(self, f"{name}_timeout") for name in Timeouts.__struct_fields__})

    @property
    def log_options(self) -> dict[str, str]:
        """The options log_NAME, as `log.configure` takes them."""
        return {"level": self.log_level, "form": self.log_format, "file": self.log_file}

    @property
    def tiers(self) -> tuple[Tier, ...]:
        """The tiers that `dequeue_periods` and `dequeue_priority` describe."""
        return make_tiers(self.dequeue_periods, self.dequeue_priority)

    @property
    def local_domains(self) -> frozenset[str]:
        """Whose names `aliases_file` is about, in lower case."""
        return frozenset({"localhost", self.hostname.lower(), self.mail_name.lower()})

    def budget(self, size: int) -> float:
        """Seconds that one look at one node may take, for a message of `size` octets."""
        return min(self.delivery_timeout + size / self.min_rate, self.max_connection_time)


def unit(name: str) -> str:
    """What the numbers of an option count, "seconds" or "octets" (see `config.units`), "" where they just count."""
    declared = Settings.__annotations__.get(name)
    for part in (declared, *getattr(declared, "__args__", ())):  # a list's unit is that of what is in it
        for meta in getattr(part, "__metadata__", ()):
            if meta.extra and "unit" in meta.extra:
                return str(meta.extra["unit"])
    return ""

# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Spool: the interface of Mail::Spool over one spool, every step a method that a subclass may override.

It only wires the rooms: what is decided is decided in them. It satisfies `store.handle.Keeper`,
`delivery.hooks.Hooks` and `delivery.work.Workplace`, so that an override reaches every worker. What only the door out
needs (DNS, SMTP, TLS, reports) is imported when the first delivery begins: `sendmail` pays for none of it.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from msgspec.structs import asdict

from mailspool import log
from mailspool.config.load import load, make
from mailspool.config.schema import Settings
from mailspool.errors import ConfigError, InputError, SpoolError, SpoolForbidden, Unreadable, UsageError
from mailspool.message import mailbox, parse
from mailspool.message.message import Message
from mailspool.model.envelope import Envelope, Recipient
from mailspool.model.tier import Dice, Tier
from mailspool.store import fsops, nodename
from mailspool.store.base import Location, Store
from mailspool.store.claim import Attempts, Owner, this_owner
from mailspool.store.filesystem import FileStore
from mailspool.submission.prepare import Expand, Origin, Wishes, login, prepare
from mailspool.submission.submit import Accepted, new_message_id, submit
from mailspool.supervisor.trigger import poke

if TYPE_CHECKING:
    from mailspool.delivery.door import Door
    from mailspool.model.credentials import Keyring
    from mailspool.smtp.reply import Reply
    from mailspool.smtp.session import Session
    from mailspool.store.handle import Handle, Node
    from mailspool.store.lease import Lease
    from mailspool.submission.batch import Batch
    from mailspool.supervisor.job import Station

DELIVERIES = {
    "Deferred": "Deferred",
    "Standard": "Deferred",
    "Background": "Background",
    "Interactive": "Interactive",
}
"""Words for `delivery` and what they mean: spool it; try now and spool what fails; try now and raise what fails."""

_ARGUMENTS = frozenset(
    (
        *("to", "from_", "message", "filehandle", "filename", "delivery", "timeout", "id"),
        *("notify", "ret", "envid", "full_name", "client", "protocol", "login"),
    )
)


def _setting(name: str) -> Any:
    """A property of Mail::Spool: an option of the configuration that a program may also set."""

    def read(self: "Spool") -> object:
        return getattr(self.settings, name)

    def write(self: "Spool", value: object) -> None:
        self.configure(**{name: value})

    return property(read, write, doc=f"The option `{name}`; see docs/configuration.md.")


class Spool:
    """One spool. Its properties are options of the configuration; see `config.schema.Settings`.

    They come from the configuration file that `config.load` finds, and from `properties`, or all from `settings`.
    store: another back end. clock: Unix seconds. dice: random.randrange. Raises ConfigError.
    """

    dequeue_dir = _setting("dequeue_dir")
    dequeue_periods = _setting("dequeue_periods")
    dequeue_priority = _setting("dequeue_priority")
    dequeue_timeout = _setting("dequeue_timeout")
    max_dequeue_processes = _setting("max_dequeue_processes")
    max_connection_time = _setting("max_connection_time")
    max_age = _setting("max_age")
    usage_log = _setting("usage_log")

    def __init__(
        self,
        settings: Settings | None = None,
        /,
        *,
        store: Store | None = None,
        clock: Callable[[], float] = time.time,
        dice: Dice | None = None,
        **properties: object,
    ) -> None:
        self.now, self._dice = clock, dice
        self._load: Callable[..., Settings] = load if settings is None else partial(_unchanging, settings)
        self._properties = properties
        self._given_store = store
        self._root = ""  # where `_store` is
        self._owner: Owner | None = None
        self.lease: Lease | None = None
        self.configure()

    @classmethod
    def from_config(cls, path: str | None = None, overrides: Sequence[str] = (), **options: Any) -> Self:
        """The spool of a configuration file and of overrides, "name=value". Raises ConfigError."""
        spool = cls(load(path, overrides), **options)
        spool._load = partial(load, path, overrides)
        return spool

    def configure(self, **properties: object) -> None:
        """Set properties, and read the configuration again. Raises ConfigError: then nothing has changed."""
        before, settings = self._root, self._load(**self._properties, **properties)
        self._properties = {**self._properties, **properties}
        self.settings = settings
        if before != settings.dequeue_dir:
            self._root = settings.dequeue_dir
            self._store: FileStore | None = None
        self._handles: dict[int, Handle] = {}  # of `node_at`, by tier
        self._attempts: tuple[int, Attempts] | None = None
        self._door: Door | None = None
        self._credentials: Keyring | None = None
        self._no_usage = 0.0  # when the folder of the usage log was not there, Unix seconds

    # --- the spool itself

    @property
    def store(self) -> Store:
        """Where the nodes are; made when first asked for. Its owner is the process that asks, or whom it has become."""
        if self._given_store is not None:
            return self._given_store
        inherited = self._owner is None and self._store is not None and self._store.owner.pid != os.getpid()
        if self._store is None or inherited:  # a fork that goes by its parent's name is dead when that has ended
            self._store = FileStore(self.settings.dequeue_dir, self._owner or this_owner(), self.now)
        return self._store

    @property
    def credentials(self) -> "Keyring":
        """What to log in with, and where; read when first asked for. Raises ConfigError."""
        if self._credentials is None:
            from mailspool.config.credentials import daemon_reader, read_credentials  # only who delivers logs in

            self._credentials = read_credentials(self.settings.credentials_file, daemon_reader(self.settings.user))
        return self._credentials

    def become(self, owner: Owner) -> None:
        """Claim as this owner from now on: a process that was forked, or taken for dead, is not the one that it was."""
        self._owner, self._door, self._handles = owner, None, {}
        if self._store is not None:
            from copy import copy  # only who claims

            self._store = copy(self._store)
            self._store.become(owner)

    def create_dequeue_dirs(self) -> None:
        """Make what is missing of the spool's directories. Raises SpoolError."""
        self.store.create(len(self.settings.tiers))

    def dice(self, faces: int) -> int:
        """One of 0 … faces - 1, each with the same chance."""
        if self._dice is None:
            from random import randrange  # only who looks into tiers rolls

            self._dice = randrange
        return self._dice(faces)

    def list_spool_handles(self) -> list["Handle"]:
        """Handles of the tiers to be looked at now: each rolls its dice."""
        return [self.mail_spool_handle(tier) for tier in self.all_tiers() if tier.roll(self.dice)]

    def all_tiers(self) -> list[Tier]:
        """The configured tiers, and those beyond them, left by a longer `dequeue_periods`: each is as the last one."""
        configured = self.settings.tiers
        last = configured[-1]
        return [*configured, *(_beyond(number, last) for number in self.store.tiers() if number > last.number)]

    def mail_spool_handle(self, tier: Tier) -> "Handle":
        """The handle of one tier."""
        from mailspool.store.handle import Handle  # see the top of this file

        return Handle(self, tier)

    def mail_spool_node(self, msh: "Handle", name: str) -> "Node":
        """The node of that name in a tier. Raises Unreadable if it is none."""
        return msh.make_node(name)

    def node_at(self, location: Location) -> "Node":
        """The node at a location. Raises Unreadable."""
        if (handle := self._handles.get(location.tier)) is None:
            handle = self._handles[location.tier] = self.mail_spool_handle(self._tier(location.tier))
        node = self.mail_spool_node(handle, location.node)
        node.location = location
        return node

    def _tier(self, number: int) -> Tier:
        tiers = self.settings.tiers
        return tiers[number] if number < len(tiers) else _beyond(number, tiers[-1])

    def quarantine(self, location: Location, reason: str) -> None:
        """Put aside what cannot be read or sent, and say so loudly."""
        moved = self.store.quarantine(location, reason)
        log.get_logger().error("quarantined", name=location.name, tier=location.tier, now=moved.name, reason=reason)

    def next_attempt(self) -> str:
        """The name of a claim, never used twice: in a worker by its serial, elsewhere by the process."""
        pid = os.getpid()
        if self._attempts is None or self._attempts[0] != pid:  # a fork must not go on with its parent's numbers
            self._attempts = pid, Attempts(f"p{pid}")
        return next(self._attempts[1])

    # --- the way in

    def send_mail(self, args: Mapping[str, Any] | None = None, /, **arguments: Any) -> str:
        """Send one message; returns its queue id.

        to: an address list, or a list of them; without it the header's To, Cc and Bcc. from_ (in a mapping also
        "from"): the sender, "" for the null sender; without it the header's From. message, filehandle, filename:
        see `message.parse.parse_message`. delivery: "Deferred" (default; it is durable when this returns),
        "Background" (tried now; what fails for now is spooled), "Interactive" (tried now; what fails is raised).
        timeout: seconds to wait for each answer, for the latter two. id: put behind the queue id. notify, ret,
        envid: RFC 3461. full_name: for a From field that must be added. login: who hands it in
        (`submission.prepare.Login`), without it who runs this process.

        A process that may not write the spool hands a deferred message over to the listener of the running daemon.
        Raises UsageError, InputError (nothing was stored), SpoolError (a local fault; nothing was stored), and for
        immediate delivery TransientError or PermanentError.
        """
        given = {**(args or {}), **arguments}
        delivery = DELIVERIES.get(given.get("delivery") or "Deferred")
        if delivery is None:
            raise UsageError(f"delivery {given['delivery']!r} must be one of {', '.join(DELIVERIES)}")
        message, envelope = self._read(given)
        if delivery == "Deferred":
            return self._send_mail_deferred(message, envelope) or envelope.id
        self._send_mail_now(message, envelope, given.get("timeout"), spool_failures=delivery == "Background")
        return envelope.id

    @contextmanager
    def batch(self) -> Iterator["Batch"]:
        """Send many messages that are promised together: `with spool.batch() as batch: batch.send_mail(…)`.

        When the block has ended, all are durable, for the price of few waits for the disk, and only then can they be
        delivered. An error that leaves the block leaves nothing of any message behind. Raises SpoolError, and
        SpoolForbidden for a process that may not write the spool: it hands in each message by itself.
        """
        from mailspool.submission.batch import Batch  # who hands in one message does without

        if not self._may_write_spool():
            raise SpoolForbidden(
                f"only root and the owner of {self.settings.dequeue_dir} may hand in a batch: send each message"
            )
        with self.store.batch() as accepting:
            batch = Batch(self._read, accepting, self.settings.max_message_size)
            yield batch
        with suppress(Exception):  # accepted: nothing may make that sound like a failure
            self._poke()
        for taken in batch.taken:
            self._tell(taken.id, taken.sender, taken.user, taken.accepted)

    def parse_message(self, args: Mapping[str, Any]) -> Message:
        """The message in the arguments of `send_mail`. Raises UsageError, InputError."""
        return parse.parse_message(args)

    def parse_for_address(self, line: str) -> Sequence[mailbox.Mailbox]:
        """The mailboxes of an address list; an address without a domain gets `mail_name`. Raises AddressError."""
        return mailbox.parse_for_address(line, self.settings.mail_name)

    def new_message_id(self, given: str = "") -> str:
        """A queue id, unique over hosts, processes and forks; `given` is put behind it."""
        return new_message_id(self.now(), os.urandom, given)

    def log_usage(self, size: int, purpose: str) -> None:
        """One line "TIME OCTETS PURPOSE" in the usage log, if its folder exists; a new one is seen within a second."""
        now, folder = self.now(), self.settings.usage_log
        if 0.0 <= now - self._no_usage < 1.0:
            return
        if not os.access(folder, os.F_OK):  # a third of what isdir costs
            self._no_usage = now
            return
        with suppress(SpoolError):  # figures are not worth a message
            owner = self._owner or this_owner()
            fsops.append(f"{folder}/{owner.host}.{owner.pid}", f"{now:.0f} {size} {purpose}\n".encode())

    def _read(self, given: Mapping[str, Any]) -> tuple[Message, Envelope]:
        """The message in the arguments of `send_mail`, made complete, and its envelope."""
        checked = _check_arguments(dict(given))
        message = self.parse_message(checked)
        return message, self._prepare(message, checked)

    def _prepare(self, message: Message, given: Mapping[str, Any], expand: Expand | None = None) -> Envelope:
        to = given.get("to") or ()
        wishes = Wishes(
            to=(to,) if isinstance(to, str) else tuple(to),
            from_=given.get("from_"),
            notify=tuple(given.get("notify") or ()),
            ret=given.get("ret") or "",
            envid=given.get("envid") or "",
            full_name=given.get("full_name") or "",
        )
        user = given.get("login") or login()
        origin = Origin(
            host=self.settings.hostname,
            mail_name=self.settings.mail_name,
            user=user.name,
            uid=user.uid,
            client=given.get("client") or "",
            protocol=given.get("protocol") or "",
        )
        now = self.now()
        queue_id = _dated(self.new_message_id(str(given.get("id") or "")), now)
        return prepare(message, wishes, origin, queue_id, now, self.parse_for_address, expand or self.expand_alias)

    def expand_alias(self, address: str, bare: bool = False) -> Mapping[str, str]:  # an Expand
        """The addresses that mail for a checked address goes to, by `aliases_file`; itself if no alias is about it.

        With each its sender, "" for the message's own: the alias's owner. bare: it came without a domain. Raises
        NoSuchUser for a bare name without an alias, ConfigError for an alias that cannot be followed.
        """
        settings = self.settings
        if not settings.aliases_file or not (bare or address.rpartition("@")[2] in settings.local_domains):
            return {address: ""}
        from mailspool.submission.aliases import Aliases  # most mail is for elsewhere

        return Aliases(settings.aliases_file, settings.local_domains).expand(address, bare)

    def _expand_for_report(self, address: str, bare: bool) -> Mapping[str, str]:  # an Expand
        """A report must go somewhere: what is wrong with the aliases does not stop it."""
        try:
            return self.expand_alias(address, bare)
        except (InputError, ConfigError):
            return {address: ""}

    def _send_mail_deferred(self, message: Message, envelope: Envelope) -> str | None:
        """Into the spool: durable when it returns; then the running supervisor is poked.

        Returns a queue id if it is another than the envelope's: that of a message handed over to the listener.
        """
        if self._may_write_spool():
            try:
                self._submit(message, envelope, self.settings.max_message_size)
            except SpoolError as error:  # who hands it in hears of it; who can mend it does not read what cron hears
                log.record("not accepted", "error", id=envelope.id, user=envelope.user, error=str(error))
                raise
            return None
        from mailspool.submission.hand_in import hand_over  # who owns the spool never needs it

        return hand_over(self.settings.run_dir, self.settings.dequeue_dir, message, envelope)

    def _may_write_spool(self) -> bool:
        """A spool that is not there, is no directory, or whose disk takes nothing, is its store's to complain of."""
        directory = self.settings.dequeue_dir
        if os.access(directory, os.W_OK) or not isinstance(self.store, FileStore):
            return True
        is_there = os.path.exists(directory)  # noqa: PTH110 pathlib costs `sendmail` 3 ms
        return not is_there or (os.access(directory, os.R_OK) and _is_read_only(directory))

    def _submit(self, message: Message, envelope: Envelope, max_size: int = 0) -> None:
        accepted = submit(self.store, message, envelope, max_size=max_size, poke=self._poke)
        self._tell(envelope.id, envelope.sender, envelope.user, accepted)

    def _tell(self, queue_id: str, sender: str, user: str, accepted: Accepted) -> None:
        """What is accepted is logged; nothing here may make it look refused."""
        nrcpt = len(accepted.names)
        log.record("submission", id=queue_id, sender=sender, size=accepted.size, nrcpt=nrcpt, user=user)
        try:
            self.log_usage(accepted.size, "Spool")
        except Exception:  # noqa: BLE001 - an override
            log.get_logger().exception("log_usage failed", id=queue_id)

    def _poke(self) -> None:
        poke(self.settings.run_dir)

    def spool_report(self, to: str, message: Message) -> str:
        """Store a report, from the null sender, whatever its size and the rules for addresses. Raises SpoolError.

        Returns its queue id.
        """
        envelope = self._prepare(message, {"to": (Recipient(to),), "from_": ""}, self._expand_for_report)
        self._submit(message, envelope)
        return envelope.id

    # --- the way out

    def dequeue(self) -> dict[str, int]:
        """One pass over the spool in the calling process. Returns how many nodes ended in which way."""
        from mailspool.delivery.daemon import one_pass  # see the top of this file

        return one_pass(self)

    def _send_mail_now(
        self, message: Message, envelope: Envelope, timeout: float | None, *, spool_failures: bool
    ) -> None:
        """Deliver at once. What fails for now is spooled or raised, once all recipients have had their try."""
        from mailspool.delivery.alone import Alone  # as above
        from mailspool.delivery.door import Door
        from mailspool.delivery.immediate import deliver_now

        try:
            self.credentials  # noqa: B018 - who may not read them leaves the delivery to the daemon, if that will do
        except ConfigError:
            if not spool_failures:
                raise
            self._send_mail_deferred(message, envelope)
            return
        door = Door(self, self.settings, Alone(), timeout or 0.0)
        spool_message = self._send_mail_deferred if spool_failures else None
        deliver_now(door.agent, message, envelope, self.settings.max_recipients, spool_message)

    @property
    def door(self) -> "Door":
        """The door out, as this process uses it; opened when first asked for."""
        if self._door is None:
            from mailspool.delivery.alone import Alone  # as above
            from mailspool.delivery.door import Door

            self._door = Door(self, self.settings, Alone())
        return self._door

    def work_at(self, station: "Station") -> "Door":
        """In a worker: a door of its own, whose claims bear the worker's serial number."""
        from mailspool.delivery.door import Door  # as above

        self._attempts = os.getpid(), Attempts(f"w{station.serial}")
        self._door = Door(self, self.settings, station)
        return self._door

    @property
    def overridden(self) -> frozenset[str]:
        """Which of the next three methods are a subclass's own, or this one object's."""
        names = ("lookup_mx", "lookup_host", "open_smtp_connection")
        return frozenset(
            name for name in names if getattr(getattr(self, name), "__func__", None) is not getattr(Spool, name)
        )

    def lookup_mx(self, domain: str) -> Sequence[str]:
        """Names of the hosts that take mail for a domain, best first. Raises TransientError, PermanentError."""
        return self.door.network.lookup_mx(domain)

    def lookup_host(self, host: str) -> Sequence[str] | str:
        """IP addresses of a host; [] if it has none. Raises TransientError."""
        return self.door.network.lookup_host(host)

    def open_smtp_connection(self, host: str, port: int = 25, timeout: float = 0.0) -> "Session":
        """A session with a host ("name", or "name[address]"), connected and greeted. Raises DeliveryError.

        timeout: seconds for each phase before the content; 0: as configured.
        """
        return self.door.network.open_smtp_connection(host, port, timeout)

    def check_sock_status(self, reply: "Reply", host: str) -> None:
        """Raise the error that a reply means: TransientError for 4yz, PermanentError for 5yz, none for others.

        Asked for the greeting, for each refusal, and for the reply to the final dot. What it lets pass means what
        its code says.
        """
        if reply.refused:
            raise reply.as_error(host)

    # --- the daemon

    def daemon(self, *, foreground: bool = False) -> int:
        """Become this host's supervisor; in the background, return an exit code once it is ready.

        In the foreground it returns when a signal has ended it. Raises ConfigError, SpoolError, AlreadyRunning.
        """
        from mailspool.delivery.daemon import run_daemon  # as above

        return run_daemon(self, foreground=foreground)


def _beyond(number: int, last: Tier) -> Tier:
    """A tier that was left by a longer `dequeue_periods`: its nodes have their last chance there."""
    return Tier(number, last.wait, last.priority, last=True)


def _is_read_only(directory: str) -> bool:
    with suppress(OSError):
        return bool(os.statvfs(directory).f_flag & os.ST_RDONLY)
    return False


def _dated(queue_id: str, now: float) -> str:
    """A scan reads the time of arrival from the id: one made by an override is put behind an id that tells it."""
    with suppress(Unreadable):
        if abs(nodename.arrival_of(queue_id) - now) < nodename.ARRIVAL_WITHIN:
            return queue_id
    return new_message_id(now, given=queue_id)


def _unchanging(settings: Settings, **properties: object) -> Settings:
    return make(**{**asdict(settings), **properties}) if properties else settings


def _check_arguments(given: dict[str, Any]) -> dict[str, Any]:
    """In a mapping the seed's "from" may stand for `from_`, which is how Python must spell it. Raises UsageError."""
    if "from" in given:
        given["from_"] = given.pop("from")
    if unknown := given.keys() - _ARGUMENTS:
        raise UsageError(
            f"send_mail knows no argument {', '.join(sorted(unknown))}; it takes {', '.join(sorted(_ARGUMENTS))}"
        )
    return given

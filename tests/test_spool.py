# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The interface of Mail::Spool: its own eleven checks, the arguments of `send_mail`, and overrides, in workers too."""

import io
import json
import os
import re
import socket
import sys
from email.message import EmailMessage
from pathlib import Path

import pytest

import mailspool
from mailspool import log
from mailspool.config.load import make
from mailspool.delivery.work import SpoolWork
from mailspool.errors import AddressError, InputError, PermanentError, SpoolForbidden, TransientError, UsageError
from mailspool.smtp.session import Session
from mailspool.spool import Spool
from mailspool.store.base import State
from tests.running import eventually, me, write_config

TEXT = "To: joe@x.example\nFrom: me@y.example\nSubject: hello\n\n.dot\nworld\n"
BODY = b"\r\n\r\n.dot\r\nworld\r\n"


@pytest.fixture
def spool(make_spool):
    return make_spool()


@pytest.fixture
def sent(spool):
    """sent(…): the one node that send_mail(…) made, opened."""

    def send(*args, **arguments):
        spool.send_mail(*args, **arguments)
        (location,) = spool.store.locations()
        return spool.node_at(location)

    return send


# --- the eleven checks of the original, in its order


def first_node(spool):
    spool.send_mail(message=TEXT)
    return spool.list_spool_handles()[0].open_spool().next_node()


def test_1_the_class_can_be_imported():
    assert mailspool.Spool is Spool


def test_2_the_class_constructs(properties):
    assert Spool(**properties())


def test_3_create_dequeue_dirs_makes_the_first_tier(properties):
    spool = Spool(make(**properties()))
    spool.create_dequeue_dirs()
    assert Path(spool.dequeue_dir, "0").is_dir()


def test_4_a_string_with_to_and_from_is_accepted(spool):
    assert spool.send_mail({"message": TEXT})


def test_5_there_are_handles(spool):
    assert len(spool.list_spool_handles()) >= 1


def test_6_the_first_handle_is_of_directory_0(spool):
    assert spool.list_spool_handles()[0].spool_dir == f"{spool.dequeue_dir}/0"


def test_7_the_handle_opens(spool):
    assert spool.list_spool_handles()[0].open_spool()


def test_8_it_has_a_next_node(spool):
    assert first_node(spool)


def test_9_the_node_locks(spool):
    assert first_node(spool).lock_node()


def test_10_the_node_opens(spool):
    assert first_node(spool).filehandle()


def test_11_it_holds_the_text_that_was_sent(spool):
    node = first_node(spool)
    assert (node.to, node.from_) == ("joe@x.example", "me@y.example")
    content = node.filehandle().read()
    assert content.endswith(BODY)
    assert b"Subject: hello\r\n" in content


# --- many messages at once


def test_a_batch_is_sent_when_its_block_ends_and_each_message_has_the_id_it_was_told(spool):
    with spool.batch() as batch:
        ids = [batch.send_mail(to=f"joe{n}@x.example", message=TEXT) for n in range(3)]
        assert list(spool.store.locations()) == []
    nodes = [spool.node_at(location) for location in spool.store.locations()]
    assert sorted(node.id for node in nodes) == sorted(ids)
    assert all(node.filehandle().read().endswith(BODY) for node in nodes)


def test_a_message_that_a_batch_refuses_can_be_left_out(spool):
    with spool.batch() as batch:
        kept = batch.send_mail(message=TEXT)
        for bad in (
            {"to": "nobody at all"},
            {"notify": ("SOMETIMES",)},
            {"delivery": "Interactive"},
            {"colour": "red"},
        ):
            with pytest.raises((AddressError, UsageError)):
                batch.send_mail(message=TEXT, **bad)
    assert [spool.node_at(location).id for location in spool.store.locations()] == [kept]


def test_an_error_that_leaves_the_block_sends_nothing(spool):
    def send_two():
        with spool.batch() as batch:
            batch.send_mail(message=TEXT)
            batch.send_mail(message=TEXT, to="nobody at all")

    with pytest.raises(AddressError):
        send_two()
    assert [path for path in Path(spool.dequeue_dir).rglob("*") if path.is_file()] == []


def test_a_batch_tells_log_and_usage_of_each_message_once_it_is_promised(make_spool):
    class Counting(Spool):
        def log_usage(self, size, purpose):
            seen.append((purpose, len(self.store.names(0))))

    seen = []
    spool = make_spool(cls=Counting)
    with spool.batch() as batch:
        batch.send_mail(message=TEXT)
        batch.send_mail(message=TEXT)
    assert seen == [("Spool", 2)] * 2


def test_the_log_tells_which_user_handed_a_message_in_whatever_sender_he_named(spool, capfd):
    log.configure(stream="stderr")
    one = spool.send_mail(message=TEXT, from_="the.king@y.example")
    with spool.batch() as batch:
        two = batch.send_mail(message=TEXT, from_="the.king@y.example")
    lines = capfd.readouterr().err
    for message in (one, two):
        assert re.search(rf"{message}: from=<the.king@y.example>, size=\d+, nrcpt=1 user={me()}\n", lines)


def test_who_may_not_write_the_spool_is_told_to_send_each_by_itself(spool, monkeypatch):
    monkeypatch.setattr(spool, "_may_write_spool", lambda: False)
    with pytest.raises(SpoolForbidden, match="send each message"), spool.batch():
        pytest.fail("the block was entered")


def test_a_daemon_delivers_a_batch_at_once(make_spool, properties, sink, daemon):
    daemon(sink=sink, dequeue_timeout=3600)
    with Spool(make(**properties(sink=sink))).batch() as batch:
        for n in range(5):
            batch.send_mail(to=f"joe{n}@x.example", message=TEXT)
    eventually(lambda: len(sink.mails) == 5)


# --- the arguments of send_mail


class Internet:
    """As the original documents Mail::Internet: lines of the header, lines of the body."""

    def header(self):
        return ["To: joe@x.example", "From: me@y.example", "Subject: hello"]

    def body(self):
        return [".dot\n", "world\n"]


class Printing:
    def print(self, file):
        file.write(TEXT)


def email_message():
    message = EmailMessage()
    message["To"], message["From"], message["Subject"] = "joe@x.example", "me@y.example", "hello"
    message.set_content(".dot\nworld\n")
    return message


@pytest.mark.parametrize(
    "message",
    [TEXT, TEXT.encode(), TEXT.splitlines(), TEXT.splitlines(keepends=True), email_message(), Internet(), Printing()],
    ids=["str", "bytes", "lines", "lines with ends", "EmailMessage", "header and body", "print"],
)
def test_a_message_may_be_of_many_kinds(sent, message):
    node = sent(message=message)
    assert (node.to, node.from_) == ("joe@x.example", "me@y.example")
    assert node.filehandle().read().endswith(BODY)


def test_a_message_may_come_from_an_open_file_or_from_a_named_one(spool, tmp_path):
    (tmp_path / "letter").write_text(TEXT)
    spool.send_mail(filehandle=io.StringIO(TEXT))
    with (tmp_path / "letter").open("rb") as file:
        spool.send_mail(filehandle=file)
    spool.send_mail(filename=str(tmp_path / "letter"))
    nodes = [spool.node_at(at) for at in spool.store.locations()]
    assert len(nodes) == 3
    assert all(node.filehandle().read().endswith(BODY) for node in nodes)


@pytest.mark.parametrize(
    "to", ["a@x.example, B <b@z.example>", ["a@x.example", "b@z.example"], ("a@x.example,b@z.example",)]
)
def test_recipients_are_a_list_of_addresses_or_a_list_of_lists(spool, to):
    spool.send_mail(to=to, message=TEXT)
    assert sorted(spool.node_at(at).to for at in spool.store.locations()) == ["a@x.example", "b@z.example"]


def test_without_recipients_the_header_s_count_and_bcc_is_told_to_nobody(spool):
    spool.send_mail(message="Bcc: c@x.example\nCc: b@x.example\n" + TEXT)
    nodes = [spool.node_at(at) for at in spool.store.locations()]
    assert sorted(node.to for node in nodes) == ["b@x.example", "c@x.example", "joe@x.example"]
    assert b"c@x.example" not in nodes[0].filehandle().read()


@pytest.mark.parametrize(
    ("arguments", "sender"),
    [
        (({"from": "other@y.example", "message": TEXT},), "other@y.example"),
        (({"from_": "other@y.example", "message": TEXT},), "other@y.example"),
        (({"from": "", "message": TEXT},), ""),
        (({"message": TEXT},), "me@y.example"),
    ],
)
def test_the_sender_is_the_one_given_or_the_header_s(sent, arguments, sender):
    assert sent(*arguments).from_ == sender


def test_what_a_mapping_says_a_keyword_may_change(sent):
    assert sent({"message": TEXT, "to": "a@x.example"}, to="b@x.example").to == "b@x.example"


def test_a_short_address_gets_the_mail_name(sent):
    assert sent(to="root", message=TEXT).to == "root@mail.test"


def test_the_id_is_in_the_queue_id_and_in_the_file_name(spool):
    queue_id = spool.send_mail(message=TEXT, id="<my.id@host>")
    assert queue_id.endswith("myidhost")
    (location,) = spool.store.locations()
    assert f"-{queue_id}.0-" in location.name


@pytest.mark.parametrize("delivery", ["Deferred", "Standard", None, ""])
def test_deferred_and_standard_spool(spool, delivery):
    spool.send_mail(message=TEXT, delivery=delivery)
    assert len(list(spool.store.locations())) == 1


def test_interactive_delivers_at_once_and_spools_nothing(make_spool, sink):
    spool = make_spool(sink=sink)
    spool.send_mail(message=TEXT, delivery="Interactive")
    assert sink.mails[0].content.endswith(BODY)
    assert list(spool.store.locations()) == []


@pytest.mark.parametrize(("local", "error"), [("later", TransientError), ("never", PermanentError)])
def test_interactive_raises_what_went_wrong(make_spool, sink, local, error):
    with pytest.raises(error):
        make_spool(sink=sink).send_mail(to=f"{local}@x.example", message=TEXT, delivery="Interactive")


def test_background_delivers_at_once(make_spool, sink):
    spool = make_spool(sink=sink)
    spool.send_mail(message=TEXT, delivery="Background")
    assert sink.recipients == ["joe@x.example"]
    assert list(spool.store.locations()) == []


def test_background_spools_for_all_recipients_who_failed_for_now(make_spool):
    spool = make_spool()  # where nothing listens
    spool.send_mail(to=["a@x.example", "b@x.example", "c@z.example"], message=TEXT, delivery="Background")
    assert len(list(spool.store.locations())) == 3


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({}, UsageError, "give one as message="),
        ({"message": 17}, UsageError, "give str, bytes"),
        ({"message": TEXT, "delivery": "Soon"}, UsageError, "must be one of Deferred, Standard"),
        ({"message": TEXT, "tO": "x"}, UsageError, "knows no argument tO; it takes"),
        ({"message": "Subject: x\n\n", "from_": "me@y.example"}, UsageError, "give one, or put To"),
        ({"message": "To: a@x.example\n\n"}, UsageError, "give one, or put From"),
        ({"message": TEXT, "to": "a b c@@"}, AddressError, "a b c@@"),
        ({"message": TEXT, "to": "a@x.example\nRCPT TO:<b@x.example>"}, AddressError, "remove it"),
        ({"filename": "/nowhere/letter"}, UsageError, "/nowhere/letter"),
        ({"message": TEXT + "x" * 5000}, InputError, "raise the limit"),
        ({"message": TEXT, "notify": ("SOON",)}, UsageError, "RFC 3461"),
    ],
)
def test_an_error_says_what_to_do_and_nothing_is_stored(make_spool, arguments, error, words):
    spool = make_spool(max_message_size=3000)
    with pytest.raises(error) as caught:
        spool.send_mail(**arguments)
    assert words in str(caught.value)
    assert list(spool.store.locations()) == []


# --- properties


def test_properties_can_be_read_and_set(spool):
    spool.dequeue_periods, spool.max_dequeue_processes = (0.0,) * 7, 3
    assert spool.dequeue_periods == (0.0,) * 7
    assert SpoolWork(spool).limits().workers == 3
    assert [tier.wait for tier in spool.all_tiers()] == [0.0] * 7


def test_submission_never_rolls_the_dice(make_spool):
    spool = make_spool(dice=lambda faces: faces - 1, dequeue_priority=[5] * 7)
    spool.send_mail(message=TEXT)
    assert [(at.state, at.tier) for at in spool.store.locations()] == [(State.QUEUED, 0)]
    assert spool.list_spool_handles() == []


def test_a_shorter_dequeue_periods_leaves_no_tier_unseen(spool):
    spool.configure(dequeue_periods=[0, 10], dequeue_priority=[1, 1])
    assert [handle.tier.number for handle in spool.list_spool_handles()] == [0, 1, 2, 3, 4, 5, 6]


# --- dequeue


def test_dequeue_is_one_pass_and_says_how_it_went(make_spool, sink):
    spool = make_spool(sink=sink)
    for to in "joe@x.example", "later@x.example", "never@x.example":
        spool.send_mail(to=to, message=TEXT)
    counts = spool.dequeue()
    assert (counts["delivered"], counts["settled"]) == (1, 2)
    assert sink.recipients == ["joe@x.example"]


def test_dequeue_takes_back_what_a_dead_process_had_claimed(make_spool, sink, tmp_path):
    spool = make_spool(sink=sink)
    spool.send_mail(message=TEXT)
    child = os.fork()
    if not child:
        try:
            other = Spool(spool.settings)
            other.list_spool_handles()[0].open_spool().next_node().claim()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert [at.state for at in spool.store.locations()] == [State.CLAIMED]
    spool.dequeue()
    assert sink.recipients == ["joe@x.example"]


def test_a_process_whose_parent_has_ended_is_not_taken_for_it(make_spool):
    """A program that uses its spool, and then goes into the background."""
    spool = make_spool()
    here, there = socket.socketpair()
    child = os.fork()
    if not child:
        try:
            program = Spool(spool.settings)
            program.create_dequeue_dirs()
            if not os.fork():
                with program.batch() as batch:
                    batch.send_mail(to="joe@x.example", message=TEXT)
                    there.send(b"written")
                    there.recv(2)
                there.send(b"accepted")
        finally:
            os._exit(0)
    there.close()
    os.waitpid(child, 0)
    here.recv(7)
    spool.store.recover()
    here.send(b"go")
    assert here.recv(8) == b"accepted"
    assert len(spool.store.names(0)) == 1


def test_the_short_timeout_of_one_send_mail_is_not_that_of_later_deliveries(make_spool, sink):
    spool = make_spool(sink=sink)
    seen = []
    opened = spool.open_smtp_connection
    spool.open_smtp_connection = lambda host, port, timeout: seen.append(timeout) or opened(host, port, timeout)
    spool.send_mail(message=TEXT)
    spool.dequeue()
    spool.send_mail(message=TEXT, delivery="Interactive", timeout=3)
    spool.send_mail(message=TEXT)
    spool.dequeue()
    usual = spool.settings.first_attempt_timeout
    assert seen == [usual, 3, usual]


# --- overridden methods


class Overridden(Spool):
    """Each override leaves its mark."""

    def lookup_mx(self, domain):
        return [f"mx.{domain}"]

    def lookup_host(self, host):
        return "127.0.0.1"

    def new_message_id(self, given=""):
        return super().new_message_id("Mine")

    def parse_for_address(self, line):
        return super().parse_for_address(line.replace(" at ", "@"))

    def mail_spool_node(self, msh, name):
        node = super().mail_spool_node(msh, name)
        mark(self, "seen", name)
        return node

    def open_smtp_connection(self, host, port=25, timeout=0.0):
        mark(self, "opened", host)
        return super().open_smtp_connection(host, port, timeout)

    def check_sock_status(self, reply, host):
        if "Mailbox is busy" in reply.text:
            raise PermanentError("5.2.1", host, "busy is never here")
        super().check_sock_status(reply, host)

    def log_usage(self, size, purpose):
        mark(self, "figures", purpose)


def mark(spool, name, text):
    with (Path(spool.dequeue_dir) / name).open("a") as file:
        file.write(f"{text}\n")


def marks(spool, name):
    path = Path(spool.dequeue_dir) / name
    return path.read_text().splitlines() if path.exists() else []


def check_marks(spool, sink, queue_id):
    assert queue_id.endswith("Mine")
    assert any(queue_id in name for name in marks(spool, "seen"))
    assert marks(spool, "opened")[0] == "mx.x.example[127.0.0.1]"
    assert "joe@x.example" in sink.recipients
    assert {"Spool", "Send"} <= set(marks(spool, "figures"))
    (bounce,) = [mail for mail in sink.mails if mail.sender == ""]
    assert b"busy is never here" in bounce.content


def test_overridden_methods_take_effect_in_this_process(make_spool, sink):
    spool = make_spool(cls=Overridden, smarthost="", smtp_port=sink.port)
    queue_id = spool.send_mail(to="joe at x.example, later at x.example", from_="me@y.example", message=TEXT)
    for _ in range(2):
        spool.dequeue()
    check_marks(spool, sink, queue_id)


SCRIPT = """
import json, sys
sys.path.insert(0, {root!r})
from mailspool.config.load import make
from tests.test_spool import Overridden
sys.exit(Overridden(make(**json.loads({properties!r}))).daemon(foreground=True))
"""


def test_overridden_methods_take_effect_in_the_workers_of_a_daemon(make_spool, properties, sink, daemon, tmp_path):
    options = {"smarthost": "", "smtp_port": sink.port}
    root = str(Path(__file__).parents[1])
    script = SCRIPT.format(root=root, properties=json.dumps(properties(**options)))
    running = daemon(command=[sys.executable, "-c", script], **options)
    spool = make_spool(cls=Overridden, **options)
    queue_id = spool.send_mail(to="joe at x.example, later at x.example", from_="me@y.example", message=TEXT)
    eventually(lambda: len(sink.mails) == 2)
    eventually(lambda: marks(spool, "figures").count("Send") == 2)
    assert running.stop() == 0
    check_marks(spool, sink, queue_id)


def test_an_override_cannot_make_a_refusal_a_delivery(make_spool, sink):
    class Blind(Spool):
        def check_sock_status(self, reply, host):
            pass

    with pytest.raises(PermanentError):
        make_spool(cls=Blind, sink=sink).send_mail(to="never@x.example", message=TEXT, delivery="Interactive")


def test_open_smtp_connection_gives_a_session_for_a_program_s_own_use(make_spool, sink):
    session = make_spool().open_smtp_connection("127.0.0.1", sink.port)
    assert isinstance(session, Session)
    session.quit()


# --- as functions


def test_send_mail_and_dequeue_are_functions_too(properties, sink, tmp_path, monkeypatch):
    config = tmp_path / "mailspool.toml"
    write_config(config, properties(sink=sink))
    monkeypatch.setenv("MAILSPOOL_CONFIG", str(config))
    Spool().create_dequeue_dirs()
    mailspool.send_mail({"message": TEXT})
    assert mailspool.dequeue()["delivered"] == 1

# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Records, absent, failed: never one for the other; each answer kept for its TTL, no longer."""

import subprocess
import sys

import dns.message
import pytest

from mailspool.dns import resolver as module
from mailspool.dns.resolver import Absent, Mx, Resolver, Unknown
from mailspool.errors import TransientError
from mailspool.supervisor.loop import through

BOTH = (6, 4)


@pytest.fixture
def resolver(server, clock):
    server.zone = {
        "example.org": {"MX": ["10 mx1.example.org.", "20 MX2.Example.ORG."]},
        "mx1.example.org": {"A": ["192.0.2.1", "192.0.2.2"], "AAAA": ["2001:db8::1"]},
        "empty.example": {"TXT": ["x"]},
    }
    return Resolver([server.address], 10.0, clock)


def hasty(server, clock):
    """For what never answers."""
    return Resolver([server.address], 0.2, clock)


def failure(look_up, *arguments, status="4.4.3"):
    with pytest.raises(TransientError) as caught:
        look_up(*arguments)
    assert caught.value.status == status
    assert caught.value.host == ""
    return caught.value.text


def test_mx_records_come_back_in_lower_case_without_the_final_dot(resolver):
    assert set(resolver.mx("example.org")) == {Mx(10, "mx1.example.org"), Mx(20, "mx2.example.org")}


def test_a_null_mx_comes_back_as_the_root(server, resolver):
    server.zone["null.example"] = {"MX": ["0 ."]}
    assert resolver.mx("null.example") == (Mx(0, "."),)


def test_addresses_of_both_families_alternate_the_first_family_in_front(resolver):
    found = resolver.addresses("mx1.example.org", BOTH)
    assert found[0] == "2001:db8::1"
    assert set(found[1:]) == {"192.0.2.1", "192.0.2.2"}
    assert resolver.addresses("mx1.example.org", (4, 6))[1] == "2001:db8::1"


def test_only_the_families_asked_for_are_looked_up(server, resolver):
    assert set(resolver.addresses("mx1.example.org", (4,))) == {"192.0.2.1", "192.0.2.2"}
    assert {rdtype for _, rdtype, _ in server.asked} == {"A"}


def test_a_name_that_does_not_exist_is_told_from_one_without_such_records(resolver):
    assert resolver.mx("nowhere.example") is Absent.NO_SUCH_NAME
    assert resolver.mx("empty.example") is Absent.NO_DATA
    assert resolver.addresses("nowhere.example", BOTH) is Absent.NO_SUCH_NAME
    assert resolver.addresses("empty.example", BOTH) is Absent.NO_DATA


@pytest.mark.parametrize("name", ["a..example", "x" * 64 + ".example", ".".join(["x" * 60] * 5), ".example"])
def test_a_name_that_dns_cannot_hold_does_not_exist(server, resolver, name):
    assert resolver.mx(name) is Absent.NO_SUCH_NAME
    assert server.asked == []


@pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED", "FORMERR", "NOTIMP", "YXDOMAIN"])
def test_an_error_of_the_name_server_is_transient_and_names_the_name_the_type_and_the_error(server, resolver, rcode):
    server.faults["example.org"] = rcode
    text = failure(resolver.mx, "example.org")
    assert "example.org MX" in text
    if rcode != "YXDOMAIN":
        assert f"127.0.0.1 port {server.port} {rcode}" in text


def test_a_network_that_is_not_there_is_told_without_the_number_of_the_error(clock):
    broadcast = "255.255.255.255"  # nothing is sent there: the kernel refuses
    text = failure(Resolver([broadcast], 1.0, clock).mx, "example.org", status="4.3.0")
    assert f"{broadcast} port 53 Permission denied" in text
    assert "Errno" not in text


def test_the_reason_that_a_name_server_gives_is_passed_on(server, resolver):
    server.faults["example.org"] = "bogus"
    assert "signature expired" in failure(resolver.mx, "example.org")


def test_no_answer_to_anything_is_our_own_fault_and_no_message_s(server, clock):
    server.faults["example.org"] = server.faults["."] = server.faults[""] = "silence"
    failure(hasty(server, clock).mx, "example.org", status="4.3.0")


@pytest.mark.parametrize("fault", ["silence", "nonsense"])
def test_no_answer_and_nonsense_are_transient_after_the_timeout(server, clock, fault):
    server.faults["example.org"] = fault
    assert "timed out" in failure(hasty(server, clock).mx, "example.org")


def test_a_referral_is_transient_because_nobody_said_that_there_is_nothing(server, resolver):
    server.faults["example.org"] = "referral"
    assert "refers" in failure(resolver.mx, "example.org")


def test_a_truncated_answer_is_asked_for_again_over_tcp(server, resolver):
    server.faults["example.org"] = "truncate"
    assert len(resolver.mx("example.org")) == 2
    assert [transport for _, _, transport in server.asked] == ["udp", "tcp"]


def test_an_answer_that_is_too_big_for_udp_comes_over_tcp_whole(server, resolver):
    server.zone["big.example"] = {"MX": [f"{n} mx{n}.{'x' * 50}.example." for n in range(500)]}
    server.faults["big.example"] = "truncate"
    assert len(resolver.mx("big.example")) == 500


def test_an_answer_truncated_over_tcp_too_is_transient(server, resolver):
    server.faults["example.org"] = "truncate always"
    failure(resolver.mx, "example.org")


def test_a_cname_is_followed(server, resolver):
    server.zone["alias.example"] = {"CNAME": ["example.org."]}
    assert len(resolver.mx("alias.example")) == 2


def test_a_cname_to_a_name_without_such_records_is_no_data(server, resolver):
    server.zone["alias.example"] = {"CNAME": ["empty.example."]}
    assert resolver.mx("alias.example") is Absent.NO_DATA


def test_a_cname_to_nowhere_is_no_such_name(server, resolver):
    server.zone["alias.example"] = {"CNAME": ["nowhere.example."]}
    assert resolver.mx("alias.example") is Absent.NO_SUCH_NAME


def test_a_loop_of_cnames_is_transient(server, resolver):
    server.zone |= {"one.example": {"CNAME": ["two.example."]}, "two.example": {"CNAME": ["one.example."]}}
    failure(resolver.mx, "one.example")


def test_an_endless_chain_of_cnames_is_transient(server, resolver):
    server.zone |= {f"c{n}.example": {"CNAME": [f"c{n + 1}.example."]} for n in range(30)}
    failure(resolver.mx, "c0.example")


@pytest.mark.parametrize("fault", ["SERVFAIL", "NXDOMAIN"])
def test_addresses_of_one_family_are_enough_where_the_other_question_fails(server, resolver, fault):
    server.faults["mx1.example.org", "AAAA"] = fault
    assert set(resolver.addresses("mx1.example.org", BOTH)) == {"192.0.2.1", "192.0.2.2"}


def test_silence_on_one_type_of_question_leaves_time_for_the_other(server, clock, resolver):
    server.faults["mx1.example.org", "AAAA"] = "silence"
    assert set(Resolver([server.address], 2.0, clock).addresses("mx1.example.org", BOTH)) == {"192.0.2.1", "192.0.2.2"}


@pytest.mark.parametrize("other", ["empty.example", "nowhere.example"])
def test_no_addresses_and_one_failed_question_is_transient_not_absent(server, resolver, other):
    server.faults[other, "A"] = "SERVFAIL"
    assert f"{other} A " in failure(resolver.addresses, other, BOTH)


def test_no_such_name_for_one_family_and_no_data_for_the_other_is_no_data(server, resolver):
    server.faults["empty.example", "AAAA"] = "NXDOMAIN"
    assert resolver.addresses("empty.example", BOTH) is Absent.NO_DATA


def test_an_answer_is_kept_for_its_ttl_and_no_longer(server, clock, resolver):
    resolver.mx("example.org")
    clock.now += server.ttl - 1
    resolver.mx("EXAMPLE.org.")
    assert len(server.asked) == 1
    clock.now += 1
    resolver.mx("example.org")
    assert len(server.asked) == 2


def test_an_answer_by_way_of_a_cname_is_kept_no_longer_than_the_cname(server, clock, resolver):
    server.ttl = 0
    server.zone["alias.example"] = {"CNAME": ["example.org."]}
    resolver.mx("alias.example")
    resolver.mx("alias.example")
    assert len(server.asked) == 2


def test_a_ttl_of_years_is_cut_to_a_day(server, clock, resolver):
    server.ttl = 2**31 - 1
    resolver.mx("example.org")
    clock.now += 86_400
    resolver.mx("example.org")
    assert len(server.asked) == 2


@pytest.mark.parametrize("name", ["nowhere.example", "empty.example"])
def test_absence_is_kept_for_the_minimum_of_the_soa(server, clock, resolver, name):
    resolver.mx(name)
    clock.now += 119
    resolver.mx(name)
    assert len(server.asked) == 1
    clock.now += 1
    server.zone[name] = {"MX": ["10 mx1.example.org."]}
    assert resolver.mx(name) == (Mx(10, "mx1.example.org"),)


def test_absence_without_a_soa_is_kept_briefly(server, clock, resolver):
    server.faults["nowhere.example"] = "no soa"
    assert resolver.mx("nowhere.example") is Absent.NO_SUCH_NAME
    clock.now += 3_600
    resolver.mx("nowhere.example")
    assert len(server.asked) == 2


def test_a_failure_is_kept_for_five_seconds_so_that_the_next_node_does_not_wait_again(server, clock, resolver):
    server.faults["example.org"] = "SERVFAIL"
    first = failure(resolver.mx, "example.org")
    server.faults.clear()
    clock.now += 4
    assert failure(resolver.mx, "example.org") == first
    clock.now += 1
    assert len(resolver.mx("example.org")) == 2


def test_the_cache_never_grows_beyond_its_bound(server, resolver, monkeypatch):
    monkeypatch.setattr(module, "MAX_ENTRIES", 3)
    for name in ("a.example", "b.example", "c.example", "d.example", "d.example"):
        resolver.mx(name)
    assert len(server.asked) == 4
    resolver.mx("b.example")
    assert len(server.asked) == 4
    resolver.mx("a.example")
    assert len(server.asked) == 5


def test_the_next_name_server_is_asked_where_one_refuses(server, clock, resolver):
    silent = f"127.0.0.1:{server.port}"
    server.faults["example.org", "MX"] = "REFUSED"
    assert failure(Resolver([silent, silent], 5.0, clock).mx, "example.org")
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    "content", [None, "", "nameserver\n", "nameserver nonsense\n", "search a..b\nnameserver 127.0.0.1\n", b"\xff\xfe"]
)
def test_a_missing_or_broken_resolv_conf_is_transient_and_read_again_next_time(clock, tmp_path, monkeypatch, content):
    path = tmp_path / "resolv.conf"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    monkeypatch.setattr(module, "RESOLV_CONF", str(path))
    resolver = Resolver([], 5.0, clock)
    assert str(path) in failure(resolver.mx, "example.org", status="4.3.0")
    path.write_text("nameserver 192.0.2.53\n")
    assert list(resolver._configured().nameservers) == ["192.0.2.53"]


def test_a_name_server_that_is_no_address_is_refused_at_once(clock):
    with pytest.raises(ValueError, match="IP address"):
        Resolver(["dns.example.org"], 5.0, clock)


def test_a_name_server_may_stand_at_an_ipv6_address(clock):
    stub = Resolver(["[2001:db8::1]:5353", "::1"], 5.0, clock)._configured()
    assert [(each.address, each.port) for each in stub.nameservers] == [("2001:db8::1", 5353), ("::1", 53)]


# --- beforehand


def learn(resolver, name, *rdtypes):
    return through(resolver.learn(Unknown(name, rdtypes)))


def known(resolver):
    """All of it: until when, and what, in no order."""
    return {
        question: (until, found if isinstance(found, Absent) else set(found))
        for question, (until, found) in resolver._cache.items()
    }


def test_who_must_not_ask_is_told_all_that_is_missing(server, resolver):
    with resolver.without_asking():
        with pytest.raises(Unknown) as mx:
            resolver.mx("example.org")
        with pytest.raises(Unknown) as addresses:
            resolver.addresses("mx1.example.org", BOTH)
    assert (mx.value.name, mx.value.rdtypes) == ("example.org", ["MX"])
    assert addresses.value.rdtypes == ["AAAA", "A"]
    assert server.asked == []
    assert len(resolver.mx("example.org")) == 2  # from here on it may


@pytest.mark.parametrize("rdtype", ["MX", "AAAA"])
def test_a_query_is_what_dnspython_makes_under_a_number_of_its_own(rdtype):
    octets = {module._Query("mx.example.org", rdtype).octets for _ in range(20)}
    numbers = {int.from_bytes(each[:2], "big") for each in octets}
    assert len(numbers) > 10
    theirs = {
        dns.message.make_query("mx.example.org.", rdtype, use_edns=0, payload=1232, id=number).to_wire()
        for number in numbers
    }
    assert octets == theirs


def test_what_is_learnt_is_known_for_its_ttl_without_asking(server, clock, resolver):
    assert learn(resolver, "mx1.example.org", "AAAA", "A")
    assert sorted(server.asked) == [("mx1.example.org", rdtype, "udp") for rdtype in ("A", "AAAA")]
    clock.now += server.ttl - 1
    with resolver.without_asking():
        assert len(resolver.addresses("mx1.example.org", BOTH)) == 3
        clock.now += 1
        with pytest.raises(Unknown):
            resolver.addresses("mx1.example.org", BOTH)


@pytest.mark.parametrize("fault", ["", "no soa", "NXDOMAIN"])
@pytest.mark.parametrize(
    "name", ["example.org", "alias.example", "empty.example", "to-empty.example", "nowhere.example"]
)
def test_what_is_learnt_is_what_a_look_up_finds_and_holds_as_long(server, clock, name, fault):
    server.zone |= {
        "example.org": {"MX": ["10 mx1.example.org.", "20 MX2.Example.ORG."]},
        "alias.example": {"CNAME": ["example.org."]},
        "empty.example": {"TXT": ["x"]},
        "to-empty.example": {"CNAME": ["empty.example."]},
    }
    server.faults[name] = fault
    learning, asking = (Resolver([server.address], 10.0, clock) for _ in range(2))
    assert learn(learning, name, "MX")
    asking.mx(name)
    assert known(learning) == known(asking)


@pytest.mark.parametrize(
    "fault",
    [
        *("SERVFAIL", "REFUSED", "FORMERR", "YXDOMAIN", "truncate", "truncate always", "nonsense", "referral", "bogus"),
        *("another number", "another question"),
    ],
)
def test_what_is_not_said_clearly_at_once_is_not_learnt(server, resolver, fault):
    server.faults["example.org"] = fault
    assert not learn(resolver, "example.org", "MX")
    assert not resolver._cache
    server.faults.clear()
    assert len(resolver.mx("example.org")) == 2


def test_nothing_is_learnt_from_who_is_silent(server, resolver, monkeypatch):
    monkeypatch.setattr(module, "TRY_SECONDS", 0.1)
    server.faults["mx1.example.org", "AAAA"] = "silence"
    assert not learn(resolver, "mx1.example.org", "AAAA", "A")


@pytest.mark.parametrize("name", ["c0.example", "loop.example"])
def test_nothing_is_learnt_from_cnames_without_an_end(server, resolver, name):
    server.zone |= {f"c{n}.example": {"CNAME": [f"c{n + 1}.example."]} for n in range(30)}
    server.zone["loop.example"] = {"CNAME": ["loop.example."]}
    assert not learn(resolver, name, "MX")


@pytest.mark.parametrize("name", ["a..example", "x" * 64 + ".example"])
def test_nothing_is_learnt_of_a_name_that_dns_cannot_hold(server, resolver, name):
    assert not learn(resolver, name, "MX")
    assert server.asked == []


def test_nothing_is_learnt_where_there_is_no_name_server(clock, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "RESOLV_CONF", str(tmp_path / "resolv.conf"))
    assert not learn(Resolver([], 5.0, clock), "example.org", "MX")


def test_a_name_server_may_stand_in_resolv_conf(server, clock, tmp_path, monkeypatch):
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 127.0.0.1\n")
    monkeypatch.setattr(module, "RESOLV_CONF", str(path))
    server.zone["example.org"] = {"MX": ["10 mx1.example.org."]}
    resolver = Resolver([], 5.0, clock)
    resolver._configured().port = server.port
    assert learn(resolver, "example.org", "MX")


@pytest.mark.parametrize(("rotate", "learnt"), [(False, [True, True]), (True, [True, False])])
def test_the_first_name_server_is_asked_or_each_in_turn_if_resolv_conf_wants_that(server, clock, rotate, learnt):
    nobody = "127.0.0.1:9"
    resolver = Resolver([server.address, nobody], 5.0, clock)
    resolver._configured().rotate = rotate
    assert [learn(resolver, name, "MX") for name in ("one.example", "two.example")] == learnt


def test_after_preload_a_look_up_imports_nothing_more(server, resolver):
    resolver.mx("example.org")
    script = f"""
import sys, time
from mailspool.dns.resolver import Resolver, preload
preload()
before = set(sys.modules)
resolver = Resolver(["{server.address}"], 10.0, time.monotonic)
resolver.mx("example.org"), resolver.mx("nowhere.example"), resolver.addresses("mx1.example.org", (6, 4))
print(sorted(set(sys.modules) - before))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"

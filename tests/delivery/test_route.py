# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Where mail goes: routes, smarthost, literals, MX; lazily, and permanent only where the domain itself says so."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailspool.delivery.route import Route
from mailspool.errors import PermanentError, TransientError
from mailspool.model.target import Host

TROUBLE = TransientError("4.4.3", "", "DNS look-up of x A failed: timed out")


class Hooks:
    """Overridden look-ups that answer out of a table; an exception in it is raised. asked: in order."""

    def __init__(self, mx=None, hosts=None):
        self.tables = {"mx": mx or {}, "host": hosts or {}}
        self.asked = []

    def _answer(self, kind, name, default):
        self.asked.append((kind, name))
        answer = self.tables[kind].get(name, default)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def lookup_mx(self, domain):
        return self._answer("mx", domain, [domain])

    def lookup_host(self, host):
        return self._answer("host", host, [host] if host[0].isdigit() or ":" in host else [])


def resolve(name):
    """The default lookup_host, for a network in which all names but one are known."""
    if name == "unknown.example":
        return []
    return {"alias.example": ["192.0.2.77"]}.get(name, [name])


def route(hooks=None, routes=None, **more):
    return Route(hooks or Hooks(), resolve, routes or {}, **more)


def hosts(hooks=None, routes=None, domain="example.org", **more):
    return list(route(hooks, routes, **more).find_hosts(domain))


def verdict(kind, *arguments, **more):
    with pytest.raises(kind) as caught:
        hosts(*arguments, **more)
    assert type(caught.value) is kind
    return caught.value.status


def test_a_smarthost_that_has_no_address_is_what_is_named():
    (error,) = hosts(routes={"*": ["unknown.example:587"]}, hooks=Hooks(hosts={"unknown.example": "unknown.example"}))
    assert error.text == "the route of example.org to unknown.example:587 fails: unknown.example has no IP address"


# --- MX


def test_each_address_of_each_host_is_tried_in_order():
    hooks = Hooks({"example.org": ["a", "b"]}, {"a": ["192.0.2.1", "2001:db8::1"], "b": ["192.0.2.2"]})
    assert hosts(hooks) == [Host("a", "192.0.2.1", 25), Host("a", "2001:db8::1", 25), Host("b", "192.0.2.2", 25)]


def test_a_host_is_shown_as_name_address_and_port():
    host = Host("mx.example.org", "192.0.2.1", 25)
    assert str(host) == "mx.example.org[192.0.2.1]:25"
    assert host.label == "mx.example.org[192.0.2.1]"


def test_nothing_is_looked_up_before_its_turn():
    hooks = Hooks({"example.org": ["a", "b"]}, {"a": ["192.0.2.1"], "b": ["192.0.2.2"]})
    found = route(hooks).find_hosts("example.org")
    assert hooks.asked == []
    next(found)
    assert hooks.asked == [("mx", "example.org"), ("host", "a")]


def test_a_host_without_addresses_is_passed_over():
    assert hosts(Hooks({"example.org": ["a", "b"]}, {"b": ["192.0.2.2"]})) == [Host("b", "192.0.2.2", 25)]


def test_a_failed_look_up_is_yielded_and_the_next_host_tried():
    hooks = Hooks({"example.org": ["a", "b"]}, {"a": TROUBLE, "b": ["192.0.2.2"]})
    assert hosts(hooks) == [TROUBLE, Host("b", "192.0.2.2", 25)]


def test_hosts_of_which_none_has_an_address_are_a_permanent_error():
    assert verdict(PermanentError, Hooks({"example.org": ["a", "b"]})) == "5.4.4"


def test_one_failed_look_up_keeps_the_verdict_from_being_permanent():
    assert hosts(Hooks({"example.org": ["a", "b"]}, {"b": TROUBLE})) == [TROUBLE]


@pytest.mark.parametrize("error", [TROUBLE, PermanentError("5.1.10", "", "null MX")])
def test_what_lookup_mx_raises_is_the_verdict(error):
    assert verdict(type(error), Hooks({"example.org": error})) == error.status


def test_no_more_addresses_and_failed_look_ups_than_the_bound_are_yielded_in_one_look():
    hooks = Hooks({"example.org": list("abcdef")}, {"a": ["192.0.2.1"] * 3, "b": TROUBLE, "c": ["192.0.2.3"]})
    assert len(hosts(hooks, max_addresses=5)) == 5
    assert len(hosts(Hooks({"example.org": ["a"]}, {"a": ["192.0.2.1"] * 30}))) == 10


def test_mx_hosts_are_reached_on_the_configured_port():
    assert hosts(Hooks(hosts={"example.org": ["192.0.2.1"]}), port=2525)[0].port == 2525


# --- overrides in the seed's style


def test_lookup_host_may_answer_with_one_address():
    assert hosts(Hooks(hosts={"example.org": "192.0.2.1"})) == [Host("example.org", "192.0.2.1", 25)]


def test_lookup_host_may_answer_with_a_name_which_is_then_resolved():
    assert hosts(Hooks(hosts={"example.org": "alias.example"})) == [Host("example.org", "192.0.2.77", 25)]
    assert hosts(Hooks(hosts={"example.org": ["alias.example", "192.0.2.1"]}))[1].address == "192.0.2.1"
    assert verdict(PermanentError, Hooks(hosts={"example.org": "unknown.example"})) == "5.4.4"


def test_lookup_mx_may_answer_with_one_name_or_with_final_dots():
    assert hosts(Hooks({"example.org": "mx.example"}, {"mx.example": "192.0.2.1"}))[0].name == "mx.example"
    assert hosts(Hooks({"example.org": ["mx.example."]}, {"mx.example": "192.0.2.1"}))[0].name == "mx.example"


@pytest.mark.parametrize("answer", [[], (), "", ["."]])
def test_a_lookup_mx_that_names_nobody_is_transient_as_it_was_in_the_seed(answer):
    assert verdict(TransientError, Hooks({"example.org": answer})) == "4.4.4"


def test_an_override_that_fails_with_oserror_is_transient():
    assert verdict(TransientError, Hooks({"example.org": socket.gaierror(-3, "try again")})) == "4.4.3"
    (found,) = hosts(Hooks(hosts={"example.org": socket.gaierror(-3, "try again")}))
    assert isinstance(found, TransientError)


def test_a_permanent_error_of_lookup_host_concerns_that_host_only():
    hooks = Hooks({"example.org": ["a", "b"]}, {"a": PermanentError("5.1.2", "", "no"), "b": "192.0.2.2"})
    assert hosts(hooks) == [Host("b", "192.0.2.2", 25)]


# --- literals


@pytest.mark.parametrize(("domain", "address"), [("[192.0.2.1]", "192.0.2.1"), ("[IPv6:2001:db8::1]", "2001:db8::1")])
def test_an_address_literal_is_reached_directly(domain, address):
    hooks = Hooks()
    assert hosts(hooks, domain=domain) == [Host(address, address, 25)]
    assert hooks.asked == [("host", address)]


# --- routes and smarthost


def test_a_route_leads_to_its_host_and_no_mx_is_asked_for():
    hooks = Hooks(hosts={"relay.example": ["192.0.2.9"]})
    assert hosts(hooks, {"example.org": "relay.example:587"}) == [Host("relay.example", "192.0.2.9", 587)]
    assert hooks.asked == [("host", "relay.example")]


def test_a_route_to_an_address_leads_there():
    assert hosts(routes={"example.org": "[2001:db8::1]:26"}) == [Host("2001:db8::1", "2001:db8::1", 26)]


def test_a_route_may_lead_to_the_mx_of_another_domain():
    hooks = Hooks({"other.example": ["a"]}, {"a": ["192.0.2.1"]})
    assert hosts(hooks, {"example.org": "mx:other.example"}) == [Host("a", "192.0.2.1", 25)]


def test_several_targets_are_tried_in_their_order_whatever_is_wrong_with_one():
    hooks = Hooks({"other.example": TROUBLE, "spare.example": ["a"]}, {"a": ["192.0.2.1"], "b": ["192.0.2.2"]})
    names = ["mx:other.example", "nowhere.example", "b:587", "mx:spare.example", "smtps://b"]
    for found in (hosts(hooks, smarthost=names), hosts(hooks, {"example.org": names})):
        assert [error.status for error in found[:2]] == ["4.4.3", "4.4.4"]
        assert found[2:] == [Host("b", "192.0.2.2", 587), Host("a", "192.0.2.1", 25), Host("b", "192.0.2.2", 465)]


def test_a_second_target_is_not_looked_up_before_its_turn():
    hooks = Hooks(hosts={"a": "192.0.2.1", "b": "192.0.2.2"})
    found = route(hooks, smarthost=("a", "b")).find_hosts("example.org")
    next(found)
    assert hooks.asked == [("host", "a")]


def test_the_own_mx_may_come_after_a_relay_and_is_no_more_permanent_then():
    hooks = Hooks({"example.org": PermanentError("5.1.2", "", "no")}, {"a": "192.0.2.1"})
    host, error = hosts(hooks, smarthost=("a", "mx"))
    assert (host.name, error.status) == ("a", "4.4.4")
    assert not route(smarthost=("a", "mx")).is_by_mx("example.org")


def test_the_smarthost_takes_what_no_route_takes_literals_too():
    table = {"example.org": "mx"}
    assert hosts(Hooks(hosts={"example.org": "192.0.2.1"}), table, smarthost="192.0.2.9")[0].address == "192.0.2.1"
    for domain in ("other.example", "[192.0.2.5]"):
        assert hosts(routes=table, domain=domain, smarthost="192.0.2.9") == [Host("192.0.2.9", "192.0.2.9", 25)]


def test_a_route_for_all_comes_before_the_smarthost():
    assert hosts(routes={"*": "192.0.2.1"}, smarthost="192.0.2.9")[0].address == "192.0.2.1"


@pytest.mark.parametrize(
    ("domain", "to"),
    [
        ("example.org", "exact:1"),
        ("a.example.org", "sub:1"),
        ("b.a.example.org", "sub:1"),
        ("deep.example.org", "sub:1"),
        ("x.deep.example.org", "deep:1"),
        ("www.example.org", "www:1"),
        ("badexample.org", "all:1"),
        ("org", "all:1"),
    ],
)
def test_the_most_specific_pattern_counts_in_whatever_order_they_stand(domain, to):
    table = {
        "*": "all:1",
        ".example.org": "sub:1",
        "*.deep.example.org": "deep:1",
        "www.example.org": "www:1",
        "example.org": "exact:1",
    }
    assert route(routes=table).destination(domain) == to
    assert route(routes=dict(reversed(table.items()))).destination(domain) == to


@pytest.mark.parametrize("target", ["nowhere.example", "mx:nowhere.example"])
def test_no_fault_of_a_route_is_permanent(target):
    gone = PermanentError("5.1.2", "", "domain nowhere.example does not exist")
    for hooks in (Hooks(), Hooks({"nowhere.example": gone}, {"nowhere.example": gone})):
        for found in (hosts(hooks, {"example.org": target}), hosts(hooks, smarthost=target)):
            assert [(type(error), error.status) for error in found] == [(TransientError, "4.4.4")]


def test_a_route_that_only_says_mx_is_the_domain_itself_and_may_be_permanent():
    gone = PermanentError("5.1.2", "", "no")
    assert verdict(PermanentError, Hooks({"example.org": gone}), {"example.org": "mx"}, smarthost="x:1") == "5.1.2"


@pytest.mark.parametrize("wrong", [{"a b": "mx"}, {"example.org": "host:0"}])
def test_a_table_that_is_wrong_is_refused_when_it_is_made(wrong):
    with pytest.raises(ValueError):
        route(routes=wrong)


# --- destinations


def test_limits_are_kept_for_the_next_hop_where_a_route_leads_to_one():
    table = {"a.example": "relay:587", "b.example": "[2001:db8::1]", "c.example": "mx:other.example", "d.example": "mx"}
    found = route(routes=table, smarthost="smart.example")
    assert found.destination("a.example") == "relay:587"
    assert found.destination("b.example") == "[2001:db8::1]:25"
    assert found.destination("c.example") == "other.example"
    assert found.destination("d.example") == "d.example"
    assert found.destination("e.example") == "smart.example:25"
    assert route(smarthost=("a:587", "mx")).destination("e.example") == "a:587,e.example"


@given(st.text(max_size=30))
def test_without_routes_every_destination_is_the_domain_itself(domain):
    assert route().destination(domain) == domain


def test_finding_a_destination_asks_nobody():
    hooks = Hooks()
    route(hooks, {".example.org": "mx:other.example"}).destination("a.example.org")
    assert hooks.asked == []

# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""A reply says what dnspython finds in the whole of it; what is no reply to the question says nothing."""

from contextlib import suppress

import dns.exception
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdata
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailspool.dns.question import BRIEFLY, UDP_OCTETS, Question, Reply, Truncated

NUMBER = 4711
NAMES = ["a.example.", "B.example.", "c.a.Example.", "example.", "."]
RDATA = {
    "A": ["192.0.2.1", "192.0.2.2"],
    "MX": ["10 a.example.", "20 c.a.example.", "0 ."],
    "CNAME": NAMES[:3],
    "TXT": ["x"],
    "NS": ["ns.example."],
    "SOA": [f"ns.example. root.example. 1 2 3 4 {minimum}" for minimum in (0, 60)],
}


def asked(name="a.example", rdtype="MX"):
    """The question, and the reply to it as dnspython would begin it."""
    question = Question(name, rdtype)
    return question, dns.message.make_response(dns.message.from_wire(question.query(NUMBER)))


def rrsets(types, most=4):
    def records(rdtype):
        return st.lists(st.sampled_from(RDATA[rdtype]), min_size=1, max_size=min(2, most), unique=True).map(
            lambda found: (rdtype, found)
        )

    one = st.tuples(
        st.sampled_from(NAMES), st.sampled_from([0, 5, 300, 86400]), st.sampled_from(types).flatmap(records)
    )
    return st.lists(
        one.map(lambda each: dns.rrset.from_text(each[0], each[1], "IN", each[2][0], *each[2][1])),
        max_size=most,
        unique_by=lambda rrset: (rrset.name, rrset.rdtype),
    )


def test_a_question_asks_dnspython_the_same():
    message = dns.message.from_wire(Question("Example.ORG", "MX").query(NUMBER))
    wanted = dns.message.make_query("example.org", "MX", flags=dns.flags.RD | dns.flags.AD, id=NUMBER)
    wanted.use_edns(0, 0, UDP_OCTETS)
    assert message == wanted
    assert (message.edns, message.payload) == (0, UDP_OCTETS)


@pytest.mark.parametrize("name", ["a..example", "x" * 64 + ".example"])
def test_a_name_that_dns_cannot_hold_cannot_be_asked_for(name):
    with pytest.raises(dns.exception.DNSException):
        Question(name, "MX")


@given(
    answer=rrsets(["A", "MX", "CNAME", "TXT"]),
    authority=st.tuples(rrsets(["NS"]), rrsets(["SOA"], most=1)).map(lambda both: both[0] + both[1]),
    additional=rrsets(["A", "TXT"]),
    exists=st.booleans(),
    secure=st.booleans(),
)
def test_what_is_read_is_what_dnspython_finds(answer, authority, additional, exists, secure):
    question, message = asked("A.example")
    message.answer, message.authority, message.additional = answer, authority, additional
    message.set_rcode(dns.rcode.NOERROR if exists else dns.rcode.NXDOMAIN)
    message.flags |= dns.flags.AD if secure else 0
    wire = message.to_wire()
    reply = question.read(wire)
    try:
        chain = dns.message.from_wire(wire).resolve_chaining()
    except (dns.message.ChainTooLong, dns.message.AnswerForNXDOMAIN):
        assert reply.fault
        return
    types = {each.rdtype for each in authority}
    if chain.answer is not None:
        assert reply == Reply("", True, reply.records, chain.minimum_ttl, secure)
        assert set(reply.records) == set(chain.answer)
    elif exists and types == {dns.rdatatype.NS}:
        assert "refers" in reply.fault
    else:
        assert reply == Reply(exists=exists, ttl=chain.minimum_ttl)


@given(octets=st.binary(max_size=80), flags=st.integers(0, 0xFFFF), counts=st.tuples(*[st.integers(0, 3)] * 3))
def test_nonsense_is_never_an_answer_of_another_kind(octets, flags, counts):
    question, _ = asked()
    head = question.query(NUMBER)[:-11]  # without what stands behind the question
    wire = head[:2] + flags.to_bytes(2) + head[4:6] + b"".join(n.to_bytes(2) for n in counts) + head[12:] + octets
    with suppress(Truncated, dns.exception.DNSException):
        assert isinstance(question.read(wire), Reply)


@pytest.mark.parametrize(
    "forge",
    [
        lambda wire: b"",
        lambda wire: wire[:11],
        lambda wire: b"\0\0" + wire[2:],  # another number
        lambda wire: wire[:2] + bytes([wire[2] & 0x7F]) + wire[3:],  # a question itself
        lambda wire: wire[:2] + bytes([wire[2] | 0x28]) + wire[3:],  # to something else than a query
        lambda wire: wire.replace(b"\x01a\x07example", b"\x01b\x07example"),
        lambda wire: wire.replace(b"\0\x0f\0\x01", b"\0\x01\0\x01"),
        lambda wire: wire[:5] + b"\0" + wire[6:],  # to no question
        lambda wire: wire[:5] + b"\2" + wire[6:],  # to two
    ],
)
def test_what_is_no_reply_to_the_question_is_not_taken_for_one(forge):
    question, message = asked()
    wire = message.to_wire()
    assert question.is_answered(NUMBER, wire)
    assert not question.is_answered(NUMBER, forge(wire))


def test_a_reply_may_spell_the_name_in_another_case():
    question, message = asked()
    assert question.is_answered(NUMBER, message.to_wire().replace(b"example", b"eXampLE"))


def test_who_replies_with_an_error_need_not_repeat_the_question():
    question, message = asked()
    message.question.clear()
    message.set_rcode(dns.rcode.SERVFAIL)
    assert question.is_answered(NUMBER, message.to_wire())
    assert question.read(message.to_wire()) == Reply("SERVFAIL")


def test_what_is_cut_off_is_not_read():
    question, message = asked()
    message.flags |= dns.flags.TC
    with pytest.raises(Truncated):
        question.read(message.to_wire())


def test_an_error_whose_lower_bits_look_like_success_is_one():
    question, message = asked()
    message.use_edns(0)
    message.set_rcode(dns.rcode.BADVERS)
    assert question.read(message.to_wire()) == Reply("BADVERS")


def test_absence_of_which_another_domain_s_authority_speaks_holds_briefly():
    question, message = asked()
    message.authority.append(dns.rrset.from_text("other.example.", 300, "IN", "SOA", RDATA["SOA"][1]))
    assert question.read(message.to_wire()) == Reply(ttl=BRIEFLY)

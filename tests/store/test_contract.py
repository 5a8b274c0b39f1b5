# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What base.Store promises, kept by each back end."""

import pytest

from mailspool.errors import ClaimLost, SpoolError, Unreadable, UsageError
from mailspool.model.envelope import Facts
from mailspool.model.outcome import Attempt
from mailspool.store.base import Location, State
from mailspool.store.claim import Owner, this_owner
from mailspool.store.filesystem import FileStore
from mailspool.store.memory import MemoryStore
from mailspool.store.waiting import Waiting

MESSAGE = b"Subject: hello\r\n\r\n.dot\r\nworld\r\n"
NOW = 1_700_000_000
DEAD = Owner(this_owner().host, "0" * 32, 1, 1)

BACK_ENDS = {
    "filesystem": lambda root: (FileStore(root, this_owner()), FileStore(root, DEAD)),
    "memory": lambda root: _memory(),
}


def _memory():
    living = MemoryStore("living", lambda owner: owner == "dead")
    dead = MemoryStore("dead")
    dead.__dict__.update({key: value for key, value in living.__dict__.items() if key != "_owner"})
    return living, dead


@pytest.fixture(params=BACK_ENDS)
def stores(request, tmp_path):
    """One spool as its living owner sees it, and as one saw it that has died."""
    living, dead = BACK_ENDS[request.param](tmp_path / "spool")
    living.create(3)
    return living, dead


@pytest.fixture
def store(stores):
    return stores[0]


def queued(name, tier=0):
    return Location(State.QUEUED, tier, name)


def attempt(text="421 later"):
    return Attempt(NOW, 0, "mx.a.example", "4.4.1", text)


def test_create_makes_the_tiers_and_may_be_repeated(store, letter):
    (name,) = store.accept(letter(), [MESSAGE], NOW)
    store.create(2)
    store.create(5)
    assert store.tiers() == [0, 1, 2, 3, 4]
    assert store.names(0) == [name]


def test_a_look_gives_what_may_be_due_and_counts_what_waits(store, letter):
    at = {}
    for tier in (0, 1):
        for entered in (0, NOW - 20_000, NOW - 10_000, NOW):
            (name,) = store.accept(letter(), [MESSAGE], NOW + 1)
            at[tier, entered] = f"{entered}-{name.partition('-')[2]}"
            store.move(queued(name), queued(at[tier, entered], tier))
    some = Waiting(NOW - 14_400, NOW + 3600, NOW - 432_000)
    for tier in (0, 1):
        found, depth = store.look(tier, some)
        assert (sorted(found), depth) == (sorted([at[tier, 0], at[tier, NOW - 20_000]]), 4)
        assert len(store.look(tier, Waiting(NOW, NOW - 1, 0))[0]) == len(store.names(tier)) == 4


def test_accept_can_make_nodes_that_nobody_delivers_yet(store, letter):
    (name,) = store.accept(letter(), [MESSAGE], NOW, State.HELD)
    assert store.names(0) == []
    assert store.names(0, State.HELD) == [name]
    store.move(Location(State.HELD, 0, name), queued(name))
    assert store.names(0) == [name]


def test_accept_makes_one_node_per_recipient_in_order(store, letter):
    envelope = letter("joe@a.example", '"x/y-z"@b-c.example', "bounce+a=b@[192.0.2.1]", message_id="ABC1")
    names = store.accept(envelope, [MESSAGE], NOW)
    assert names == (f"{NOW}-ABC1.0-a.example", f"{NOW}-ABC1.1-b-c.example", f"{NOW}-ABC1.2-[192.0.2.1]")
    assert sorted(store.names(0)) == sorted(names)


def test_open_gives_back_the_envelope_with_its_facts_and_the_message(store, letter):
    envelope = letter("joe@a.example", "jané@a.example")
    name, _ = store.accept(envelope, [MESSAGE[:20], MESSAGE[20:]], NOW)
    stored = store.open(queued(name))
    with stored.file:
        assert stored.file.read() == MESSAGE
    assert stored.envelope.recipients == envelope.recipients
    assert stored.envelope.facts == Facts(len(MESSAGE), longest_line=14, leading_dots=1)


def test_the_message_can_be_read_again_from_where_it_began(store, letter):
    (name,) = store.accept(letter(), [MESSAGE], NOW)
    with store.open(queued(name)).file as file:
        start = file.tell()
        file.read()
        file.seek(start)
        assert file.read() == MESSAGE


@pytest.mark.parametrize("lines", [1, 1000, 2000, 100_000])
def test_a_message_of_any_size_comes_back_whole(store, letter, lines):
    (name,) = store.accept(letter(), [b"x" * 62 + b"\r\n"] * lines, NOW)
    with store.open(queued(name)).file as file:
        start = file.tell()
        assert file.read() == (b"x" * 62 + b"\r\n") * lines
        file.seek(start)
        assert file.readline() == b"x" * 62 + b"\r\n"


def test_an_empty_message_is_whole(store, letter):
    (name,) = store.accept(letter(), [], NOW)
    with store.open(queued(name)).file as file:
        assert file.read() == b""


def test_an_error_in_the_message_leaves_nothing_behind(store, letter):
    def chunks():
        yield MESSAGE
        raise ValueError("the client hung up")

    with pytest.raises(ValueError, match="hung up"):
        store.accept(letter(), chunks(), NOW)
    assert list(store.locations()) == []


def test_a_message_without_recipients_or_with_an_unsafe_id_is_refused(store, letter):
    with pytest.raises(UsageError):
        store.accept(letter(message_id="a/b"), [MESSAGE], NOW)
    envelope = letter()
    with pytest.raises(UsageError):
        store.accept(type(envelope)(envelope.id, "", (), NOW), [MESSAGE], NOW)


def test_an_id_used_twice_is_refused_and_the_first_message_stays(store, letter):
    (name,) = store.accept(letter(message_id="A"), [b"one\r\n"], NOW)
    with pytest.raises(SpoolError):
        store.accept(letter(message_id="A"), [b"two\r\n"], NOW)
    with store.open(queued(name)).file as file:
        assert file.read() == b"one\r\n"
    assert list(store.locations()) == [queued(name)]


def test_a_batch_can_be_seen_when_it_has_ended_and_not_before(store, letter):
    with store.batch() as batch:
        names = [
            batch.accept(letter("joe@a.example", "jane@b.example", message_id=letter_id), [MESSAGE], NOW)
            for letter_id in "AB"
        ]
        assert list(store.locations()) == []
    assert sorted(store.names(0)) == sorted(name for both in names for name in both)
    for name in store.names(0):
        with store.open(queued(name)).file as file:
            assert file.read() == MESSAGE


def test_an_error_that_leaves_a_batch_leaves_nothing_of_any_message(store, letter):
    def begin():
        with store.batch() as batch:
            batch.accept(letter(), [MESSAGE], NOW)
            raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        begin()
    assert list(store.locations()) == []


def test_what_a_batch_refuses_is_no_part_of_it_and_the_others_are(store, letter):
    with store.batch() as batch:
        (name,) = batch.accept(letter(message_id="A"), [b"one\r\n"], NOW)
        with pytest.raises(SpoolError):
            batch.accept(letter(message_id="A"), [b"two\r\n"], NOW)
        with pytest.raises(UsageError):
            batch.accept(letter(message_id="a/b"), [MESSAGE], NOW)
    assert list(store.locations()) == [queued(name)]
    with store.open(queued(name)).file as file:
        assert file.read() == b"one\r\n"


def test_an_empty_batch_is_none(store):
    with store.batch():
        pass
    assert list(store.locations()) == []


def test_only_one_can_claim_a_node(store, letter):
    (name,) = store.accept(letter(), [MESSAGE], NOW)
    claim = store.claim(queued(name), "w1.1")
    assert (claim.state, claim.tier, claim.name) == (State.CLAIMED, 0, f"{name}~w1.1")
    with pytest.raises(ClaimLost):
        store.claim(queued(name), "w2.1")
    assert store.names(0) == []
    with store.open(claim).file as file:
        assert file.read() == MESSAGE


def test_a_claim_can_be_claimed_away_and_its_owner_finds_it_lost(store, letter):
    (name,) = store.accept(letter(), [MESSAGE], NOW)
    first = store.claim(queued(name), "w1.1")
    second = store.claim(first, "p2.1")
    assert (second.name, second.node) == (f"{name}~p2.1", name)
    with pytest.raises(ClaimLost):
        store.seal(first)
    assert list(store.locations()) == [second]


def test_a_sealed_claim_says_so_and_can_be_sealed_again_and_given_back(store, letter):
    (name,) = store.accept(letter(), [MESSAGE], NOW)
    claim = store.claim(queued(name), "w1.1")
    names = [claim.name]
    for _ in range(3):
        assert claim.sealed is (claim.name != names[0])
        claim = store.seal(claim)
        assert claim.name != names[-1]
        names.append(claim.name)
    assert claim.sealed
    assert list(store.locations()) == [claim] == store.claims("w1.")
    store.move(claim, queued(name))
    assert store.names(0) == [name]


def test_a_claim_that_was_taken_away_cannot_be_sealed(store, letter):
    (name,) = store.accept(letter(), [MESSAGE], NOW)
    claim = store.claim(queued(name), "w1.1")
    held = store.move(claim, Location(State.HELD, 0, name))
    with pytest.raises(ClaimLost):
        store.seal(claim)
    assert list(store.locations()) == [held]


def test_a_node_moves_to_the_next_tier_under_its_new_name(store, letter):
    (name,) = store.accept(letter(), [MESSAGE], NOW)
    claim = store.claim(queued(name), "w1.1")
    later = queued(name.replace(str(NOW), str(NOW + 9)), 1)
    assert store.move(claim, later) == later
    assert list(store.locations()) == [later]
    with pytest.raises(ClaimLost):
        store.move(claim, later._replace(tier=2))


def test_a_move_never_replaces_what_is_there(store, letter):
    one, two = store.accept(letter("a@a.example", "b@a.example"), [MESSAGE], NOW)
    with pytest.raises(SpoolError):
        store.move(queued(one), queued(two))
    assert sorted(store.names(0)) == sorted([one, two])


def test_who_comes_second_has_lost_the_node_even_if_the_first_moved_it_to_the_same_place(store, letter):
    (name,) = store.accept(letter(), [MESSAGE], NOW)
    claim = store.claim(queued(name), "w1.1")
    store.move(claim, queued(name))
    with pytest.raises(ClaimLost):
        store.move(claim, queued(name))


def test_a_node_can_be_held_and_released(store, letter):
    (name,) = store.accept(letter(), [MESSAGE], NOW)
    held = store.move(queued(name), Location(State.HELD, 0, name))
    assert store.names(0) == []
    assert store.names(0, State.HELD) == [name]
    store.move(held, queued(name))
    assert store.names(0) == [name]


def test_a_deleted_node_is_gone_and_its_siblings_stay_whole(store, letter):
    one, two = store.accept(letter("a@a.example", "b@b.example"), [MESSAGE], NOW)
    claim = store.claim(queued(one), "w1.1")
    store.delete(claim)
    for act in (store.delete, store.open, lambda at: store.move(at, queued(one))):
        with pytest.raises(ClaimLost):
            act(claim)
    with store.open(queued(two)).file as file:
        assert file.read() == MESSAGE


def test_quarantine_keeps_the_node_and_says_why(store, letter):
    (name,) = store.accept(letter(), [MESSAGE], NOW)
    where = store.quarantine(store.claim(queued(name), "w1.1"), "no good: é\ud800")
    assert where == Location(State.QUARANTINED, 0, name)
    assert store.reason(where).startswith("no good: é")
    assert list(store.locations()) == [where]
    assert store.names(0, State.QUARANTINED) == [name]
    with store.open(where).file as file:
        assert file.read() == MESSAGE


def test_two_of_one_name_are_both_kept_in_quarantine(store, letter):
    names = store.accept(letter("a@a.example", "b@b.example"), [MESSAGE], NOW)
    places = [store.quarantine(store.move(queued(name), queued("odd")), name) for name in names]
    assert [at.name for at in places] == ["odd", "odd.2"]
    assert [store.reason(at) for at in places] == list(names)


def test_the_reason_goes_when_the_node_leaves_quarantine(store, letter):
    (name,) = store.accept(letter(), [MESSAGE], NOW)
    where = store.quarantine(queued(name), "why")
    store.quarantine(store.move(where, queued(name)), "once more")
    assert store.reason(where) == "once more"
    store.delete(where)
    assert list(store.locations()) == []
    assert store.reason(where) == ""


def test_quarantining_what_is_gone_is_a_lost_claim_and_leaves_no_reason(store):
    with pytest.raises(ClaimLost):
        store.quarantine(queued("1-A.0-x"), "why")
    assert store.reason(Location(State.QUARANTINED, 0, "1-A.0-x")) == ""


def test_a_history_lists_attempts_oldest_first_and_ends_with_its_node(store, letter):
    (name,) = store.accept(letter(message_id="A"), [MESSAGE], NOW)
    assert store.history("A.0") == []
    store.record("A.0", [attempt("one"), attempt("two")])
    store.record("A.0", [])
    store.record("A.0", [attempt("three")])
    assert [a.text for a in store.history("A.0")] == ["one", "two", "three"]
    assert [*store.tried()] == ["A.0"]
    later = store.move(store.claim(queued(name), "w1.1"), queued(name, 1))
    store.delete(store.claim(later, "w1.2"))
    assert store.history("A.0") == []
    assert [*store.tried()] == []


def test_find_knows_a_message_in_every_state_and_a_node_by_its_number(store, letter):
    names = store.accept(letter(*[f"{n}@a.example" for n in range(12)], message_id="AB"), [MESSAGE], NOW)
    store.accept(letter(message_id="A"), [MESSAGE], NOW)
    places = {
        store.claim(queued(names[1]), "w1.1"),
        store.move(queued(names[2]), Location(State.HELD, 0, names[2])),
        store.quarantine(queued(names[3]), "why"),
        store.move(queued(names[4]), queued(names[4], 2)),
        *map(queued, (names[0], *names[5:])),
    }
    assert set(store.find("AB")) == places
    assert store.find("AB.1") == [at for at in places if at.state is State.CLAIMED]
    assert store.find("B") == store.find("") == []


def test_what_is_no_node_is_unreadable_and_can_be_put_aside(store, letter):
    (name,) = store.accept(letter(), [MESSAGE], NOW)
    odd = store.move(queued(name), queued("lost+found"))
    assert store.names(0) == ["lost+found"]
    with pytest.raises(Unreadable):
        store.open(odd)
    assert store.quarantine(odd, "no name") == Location(State.QUARANTINED, 0, "lost+found")


@pytest.mark.parametrize("name", ["5-B.0-a.example", "5-A.1-a.example"])
def test_a_name_that_does_not_belong_to_its_message_is_unreadable(store, letter, name):
    store.accept(letter(message_id="A"), [MESSAGE], NOW)
    odd = store.move(queued(store.names(0)[0]), queued(name))
    with pytest.raises(Unreadable, match="belong"):
        store.open(odd)


def test_claims_of_one_worker_are_found_by_its_name(store, letter):
    names = store.accept(letter("a@a.example", "b@b.example", "c@c.example"), [MESSAGE], NOW)
    claims = [store.claim(queued(n), a) for n, a in zip(names, ["w1.1", "w1.2", "w12.1"], strict=True)]
    assert set(store.claims("w1.")) == set(claims[:2])
    assert set(store.claims("")) == set(claims)


def test_the_claims_of_any_owner_are_found(stores, letter):
    living, dead = stores
    first, second = living.accept(letter("a@a.example", "b@b.example"), [MESSAGE], NOW)
    claims = living.claim(queued(first), "w1.1"), dead.claim(queued(second), "w1.1")
    for claim in claims:
        assert list(living.claims_of(claim.owner)) == [claim]
    assert list(living.claims_of("nobody")) == []


def test_a_sealed_claim_is_recovered_with_a_line_that_a_second_copy_is_possible(stores, letter):
    living, dead = stores
    first, second = dead.accept(letter("a@a.example", "b@b.example", message_id="A"), [MESSAGE], NOW)
    dead.seal(dead.claim(queued(first), "w1.1"))
    dead.claim(queued(second), "w1.2")
    assert set(living.recover()) == {queued(first), queued(second)}
    (attempt,) = living.history("A.0")
    assert attempt.text.endswith(
        "; its final dot may have been said, or its bounce accepted, so that a second copy is possible"
    )
    assert living.history("A.1") == []


def test_recover_returns_the_claims_of_the_dead_and_leaves_those_of_the_living(stores, letter):
    living, dead = stores
    names = living.accept(letter("a@a.example", "b@b.example", "c@c.example"), [MESSAGE], NOW)
    kept = living.claim(queued(names[0]), "w1.1")
    dead.claim(queued(names[1]), "w1.1")
    dead.claim(living.move(queued(names[2]), queued(names[2], 2)), "w2.1")
    back = {queued(names[1]), queued(names[2], 2)}
    assert set(living.recover()) == back
    assert set(living.locations()) == back | {kept}
    assert living.recover() == []


def test_peek_gives_the_first_octets_of_whatever_is_there(store, letter):
    (name,) = store.accept(letter(), [MESSAGE], NOW)
    whole = store.peek(queued(name), 1 << 20)
    assert whole.endswith(MESSAGE)
    assert store.peek(queued(name), 10) == whole[:10]
    store.delete(queued(name))
    with pytest.raises(ClaimLost):
        store.peek(queued(name), 10)

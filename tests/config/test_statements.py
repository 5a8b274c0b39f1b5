# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailspool.config.statements import Fault, read

TEXT = '''\
# max_hops = 1
smarthost = [
  "a]b",  # a list
  "max_hops = 2",
]
user = """
max_hops = 3
"""
max_hops = 4
routes."a.example" = "x"

[routes]
"b.example" = "y"
'c.example' = 'z'

[[more]]
x = 1
'''


def test_each_name_is_found_on_the_line_that_sets_it():
    assert read(TEXT).lines == {
        "smarthost": 2,
        "user": 6,
        "max_hops": 9,
        "routes": 10,
        "routes.a.example": 10,
        "routes.b.example": 13,
        "routes.c.example": 14,
        "more": 16,
        "more.x": 17,
    }


def test_every_fault_is_found_and_the_rest_is_read():
    read_ = read(
        'tls = may\nmax_hops = 4\nuser = "x\ncool_down 5\nx = [\n 1,\n no,\n 2]\nmax_hops = 5\n[routes\nlast = 1\n'
    )
    assert [(fault.line, fault.name, fault.found) for fault in read_.faults] == [
        (1, "tls", "may"),
        (3, "user", '"x'),
        (4, "", "cool_down 5"),
        (7, "x", "no,"),
        (8, "", "2]"),
        (9, "max_hops", ""),
        (10, "", "[routes"),
    ]
    assert read_.values == {"max_hops": 4, "last": 1}


def test_what_is_never_closed_is_told_by_its_name_and_hides_nothing():
    found = read("a = 1\nb = [1,\nc = 3\n")
    assert [fault[:3] for fault in found.faults] == [(3, "b", "c = 3")]
    assert found.values == {"a": 1, "c": 3}
    assert [fault[:3] for fault in read("a = 1\nb = [1,\n").faults] == [(2, "b", "[1,")]


def test_a_name_that_is_set_twice_is_told_with_both_lines():
    assert read("a = 1\n\na = 2").faults == (Fault(3, "a", "", "is set a second time, first in line 1"),)


def test_a_long_list_is_read_in_no_time():
    text = "x = [\n" + "  'a',\n" * 3000 + "]\ny = 1\n"
    assert read(text).lines == {"x": 1, "y": 3003}


_NAMES = st.from_regex(r"[a-z]{1,3}", fullmatch=True)
_LINES = st.builds("{} = {}".format, _NAMES, st.sampled_from(["1", '"x"', "[1,\n 2\n]", "{a = 1}", '"""\ny = 1\n"""']))


@given(st.lists(_LINES, unique_by=lambda line: line.partition(" ")[0]))
def test_of_right_toml_it_says_what_tomllib_says(lines):
    text = "\n".join(lines)
    found = read(text)
    assert (found.values, found.faults) == (tomllib.loads(text), ())
    assert all(text.splitlines()[found.lines[name] - 1].startswith(f"{name} =") for name in found.values)


@given(st.text(st.sampled_from("ab=[]{}\"'#.\n 1,\\")))
def test_no_text_is_too_wrong_to_be_read(text):
    found = read(text)
    assert all(1 <= fault.line <= len(text.splitlines()) for fault in found.faults)


@pytest.mark.parametrize("text", ["", "\n\n", "# x\n"])
def test_of_nothing_it_says_nothing(text):
    assert read(text) == ({}, {}, ())

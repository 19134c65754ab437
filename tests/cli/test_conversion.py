from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from recoder.cli.conversion import SettingError, convert, make


@dataclass(frozen=True)
class Inner:
    size: int = 1
    names: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    rate: float = 0.5


def test_sections_become_dataclasses_and_what_is_left_out_keeps_its_default():
    assert make(Outer, {"inner": {"names": ["a", "b"]}}) == Outer(Inner(1, ("a", "b")), 0.5)
    assert make(Outer, {}) == Outer()


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (3, float, 3.0),
        (3, int, 3),
        ("a", str | None, "a"),
        (None, str | None, None),
        ([1, 2], tuple[float, ...], (1.0, 2.0)),
        ([1, 2], Sequence[int], (1, 2)),
        ({"a": 1}, dict[str, Any], {"a": 1}),
        ({"a": 1}, Mapping[str, Any] | None, {"a": 1}),
        ("b", Literal["a", "b"], "b"),
        (object, Any, object),
        (True, bool, True),
    ],
)
def test_values_fit_their_annotations(value, hint, expected):
    converted = convert(value, hint, ("key",))
    assert (converted, type(converted)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("value", "hint", "reason"),
    [
        (True, int, "True is true or false, not a whole number"),
        (True, float, "True is true or false, not a number"),
        (1.5, int, "1.5 is a number, not a whole number"),
        ("3", int, "'3' is text, not a whole number"),
        (3, str | None, "3 is a whole number, not text"),
        (3, tuple[str, ...], "3 is a whole number, not a list, each of it text"),
        ([3], tuple[str, ...], "3 is a whole number, not text"),
        ("c", Literal["a", "b"], "'c' is none of 'a', 'b'"),
        (3, Inner, "'key' is a section: write [key], and its keys below"),
    ],
)
def test_values_that_do_not_fit_are_refused_in_the_words_of_a_file(value, hint, reason):
    with pytest.raises(SettingError) as caught:
        convert(value, hint, ("key",))
    assert (caught.value.keys, caught.value.reason) == (("key",), reason)


def test_an_unknown_key_is_refused_with_the_one_that_was_meant():
    with pytest.raises(SettingError) as caught:
        make(Outer, {"inner": {"sise": 1}})
    assert caught.value.keys == ("inner", "sise")
    assert caught.value.reason == "[inner] has no key 'sise'; did you mean 'size'?"
    with pytest.raises(SettingError, match="this file has no key 'x'; it has inner, rate"):
        make(Outer, {"x": 1})

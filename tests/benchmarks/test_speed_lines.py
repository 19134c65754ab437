from __future__ import annotations

import pytest
from benchmarks.speed.lines import HEADINGS, in_unit, line_of, markdown_table, number_text, plot_points
from benchmarks.speed.works import Curve, Plot, Row

SIDES = {
    "ours": {"values": [0.010, 0.020, 0.030]},
    "theirs": {"values": [0.050, 0.060, 0.060]},
    "failed": {"error": "it does not install"},
}


def cells(row: Row) -> dict[str, str]:
    return dict(zip(HEADINGS, line_of(row, SIDES).cells, strict=True))


class TestLine:
    def test_the_ratio_is_that_of_the_medians_with_the_range_of_single_rounds(self) -> None:
        found = cells(Row("w", "m", "ours", "theirs", at_least=3.0))
        assert found == {
            "work": "w",
            "ours": "20 ms",
            "theirs": "60 ms",
            "ratio": "3.00",
            "of single rounds": "2.00 to 5.00",
            "required": "at least 3",
            "reached": "yes",
        }

    def test_a_quotient_is_ours_over_theirs_and_has_an_upper_limit(self) -> None:
        row = Row("w", "m", "theirs", "ours", at_most=2.9, is_quotient=True)
        assert cells(row)["ratio"] == "3.00"
        assert cells(row)["required"] == "at most 2.9"
        assert line_of(row, SIDES).is_reached is False
        assert cells(row)["reached"] == "**no**"

    def test_users_per_second_grow_with_the_ratio(self) -> None:
        found = cells(Row("w", "m", "ours", "theirs", "users/s", per=(1_000, 1_000)))
        assert (found["ours"], found["theirs"], found["ratio"]) == ("50,000 users/s", "16,700 users/s", "3.00")
        assert found["reached"] == "-"

    def test_times_per_user_take_the_sides_numbers_of_users_into_account(self) -> None:
        found = cells(Row("w", "m", "ours", "theirs", "us/user", per=(200, 100)))
        assert (found["ours"], found["theirs"], found["ratio"]) == ("100 µs/user", "600 µs/user", "6.00")

    def test_a_limit_of_our_own_needs_no_rival(self) -> None:
        row = Row("w", "m", "ours", None, "s", at_most=0.02)
        assert cells(row)["required"] == "at most 0.02 s"
        assert line_of(row, SIDES).is_reached is True

    @pytest.mark.parametrize("sides", [("ours", "failed"), ("failed", "theirs")])
    def test_a_side_that_failed_stands_in_the_table_with_its_reason(self, sides: tuple[str, str]) -> None:
        line = line_of(Row("w", "m", *sides, at_least=3.0), SIDES)
        assert line.cells[-1] == "not measured: it does not install"
        assert not line.is_measured
        assert line.is_reached is None


def test_points_of_a_plot_are_medians_with_their_range_and_leave_out_what_failed() -> None:
    plot = Plot("p", "t", "x", "ms", (Curve("fp32", {1: ("m", "ours"), 2: ("m", "failed"), 3: ("none", "ours")}),))
    assert plot_points(plot, {"m": SIDES}) == {"fp32": {1: (20.0, 10.0, 30.0)}}


@pytest.mark.parametrize(
    ("value", "text"), [(0.01234, "0.0123"), (1.5, "1.5"), (99.96, "100"), (123.4, "123"), (12_345.0, "12,300")]
)
def test_numbers_show_three_digits(value: float, text: str) -> None:
    assert number_text(value) == text


def test_units_are_those_of_seconds() -> None:
    assert in_unit(0.5, "ms") == 500
    assert in_unit(0.5, "users/s", 100) == 200


def test_a_markdown_table_has_a_rule_that_aligns_numbers_to_the_right() -> None:
    assert markdown_table(("a", "b"), [("x", "1")]) == "| a | b |\n| --- | --: |\n| x | 1 |\n"

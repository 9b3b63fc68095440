"""Equal values in other spellings: the one that a text stands for, and merged whole numbers."""

import pytest

from wavenet.user_input.equal_values import (
    describe_merged,
    find_equal_value,
    merge_number_spellings,
)

VALUES = ("7", "08", "Theo", "bob", "Bob", "1000")


@pytest.mark.parametrize(
    "text, value",
    [
        *(("7", "7"), ("7.0", "7"), (" 07 ", "7"), ("8", "08"), ("1e3", "1000")),
        *(("theo", "Theo"), (" THEO", "Theo"), ("bob", "bob"), ("Bob", "Bob")),
        *(("BOB", None), ("9", None), ("the", None), ("1_000", None), ("", None)),
    ],
)
def test_a_text_stands_for_the_only_equal_value(text, value):
    assert find_equal_value(text, VALUES) == value


@pytest.mark.parametrize(
    "values, merged",
    [
        (["3", "3.0", "4.0"], {"3.0": "3"}),
        (["3.0", "3.00"], {"3.0": "3", "3.00": "3"}),
        ([" 3", "3", "-2.", "-2"], {" 3": "3", "-2.": "-2"}),
        (["0", "0.0", "10", "10.0"], {"0.0": "0", "10.0": "10"}),
        (["12345678901234567890", "12345678901234567891.0"], {}),
        (["3", "03"], {}),
        (["007", "008"], {}),
        (["1e3", "1000", "1000.5"], {}),
        (["1.1", "1.10"], {}),
        (["theo", "Theo", "", "nan"], {}),
    ],
)
def test_only_spellings_of_a_whole_number_are_merged(values, merged):
    assert merge_number_spellings(values) == merged


def test_a_line_names_the_first_merged_spellings():
    merged = {f"{n}.0": str(n) for n in range(1, 9)}
    line = describe_merged("digit", merged)
    assert line.startswith("digit has equal numbers") and line.endswith(" and 3 more")
    assert "'1.0' is used as '1'" in line and "'8.0'" not in line

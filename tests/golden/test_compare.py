"""The comparison with the references finds what it is there to find."""

import pytest

from tests.golden.before.compare import same_difference, same_json, same_table, same_words

TABLE = "file,score,decision,error\na.wav,0.00123,1,\nb.wav,,,not a recording\n"
REFUSED = (AssertionError, pytest.fail.Exception)


@pytest.mark.parametrize(
    "now",
    [
        TABLE.replace("0.00123", "0.001230003"),
        TABLE.replace(",1,", ",0,"),
        TABLE.replace("a.wav", "c.wav"),
        TABLE.replace("not a recording", ""),
        TABLE.replace("score,", "").replace("0.00123,", ""),
        TABLE.partition("b.wav")[0],
        TABLE.replace("score,decision", "decision,score"),
    ],
)
def test_a_table_that_changed(now):
    with pytest.raises(REFUSED):
        same_table(TABLE, now, "table")


def test_a_table_of_another_wording_or_with_more_columns():
    same_table(TABLE, TABLE.replace("not a recording", "cannot be read").replace("0.00123", "0.0012300000001"), "table")
    same_table(TABLE, "\n".join(f"{line},x" for line in TABLE.splitlines()), "table")


@pytest.mark.parametrize("now", [{}, {"rows": 3, "rate": 0.05}, {"rows": 2, "rate": 0.0500001}, {"rows": 2}])
def test_json_that_changed(now):
    with pytest.raises(REFUSED):
        same_json({"rows": 2, "rate": 0.05}, now, "json")


def test_words():
    same_words("44 windows, rate 4.35 %", "rate of 4.35 %, per window; 44 windows; 3 more", "words")
    with pytest.raises(REFUSED):
        same_words("44 windows, 44 now", "44 windows", "words")
    with pytest.raises(REFUSED):
        same_difference("+ a.wav\nthreshold: 1.5 -> 2.5", "threshold: 1.5 -> 2.5", "words")

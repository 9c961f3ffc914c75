"""Rows by columns are the rows that went in, whatever is done to them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from echobank.detection.rows import Row, Rows, Words

TEXT = st.text(max_size=4)
ROW = st.builds(
    Row,
    file=TEXT,
    machine=TEXT,
    domain=st.sampled_from(["source", "target"]),
    attributes=st.dictionaries(TEXT, TEXT, max_size=2),
    group=st.sampled_from(["", "a", "b", "ab"]),
    augmentation=st.sampled_from(["", "snr=1"]),
    start=st.floats(0, 9),
)


@given(st.lists(TEXT, min_size=1, max_size=12))
def test_a_column_keeps_its_words_and_sorts_as_they_do(words):
    column = Words.of(words)
    assert [column[i] for i in range(len(words))] == words == column.array().tolist() or "\0" in "".join(words)
    order = np.argsort(column.codes, kind="stable")
    assert [words[i] for i in order] == sorted(words)


@given(st.lists(ROW, min_size=1, max_size=9), st.lists(ROW, min_size=1, max_size=9), st.data())
def test_rows_taken_joined_and_sorted_are_those_of_a_list(first, second, data):
    rows = Rows.of(first).joined(second)
    both = first + second
    assert rows == both and list(rows) == both and [rows[i] for i in range(len(rows))] == both
    which = data.draw(st.lists(st.integers(0, len(both) - 1), min_size=1, max_size=6))
    taken = rows.take(np.array(which))
    assert taken == [both[i] for i in which]
    assert taken.order().tolist() == sorted(
        range(len(which)),
        key=lambda i: (taken[i].domain, taken[i].file, taken[i].start, taken[i].augmentation),
    )
    names = [row.group or f"\0{i}" for i, row in enumerate(taken)]
    assert taken.groups().tolist() == np.unique(names, return_inverse=True)[1].tolist()
    assert taken.genuine().tolist() == [not row.augmentation for row in taken]
    packed = {name: column.packed() for name, column in taken.words.items()}
    assert Rows(packed, taken.numbers) == taken and all(len(c.used()[0]) == len(c.ends) for c in packed.values())

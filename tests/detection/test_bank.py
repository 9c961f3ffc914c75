"""The bank: sorted rows, groups, files that are whole or refused."""

import dataclasses
import json
import struct

import numpy as np
import pytest

from echobank.detection.bank import SCHEMA, Bank, Row, build_bank, load_bank, save_bank
from echobank.errors import BankError


def make_bank(n=5, seed=0, order=None):
    vectors = np.random.default_rng(seed).standard_normal((n, 2, 3)).astype(np.float32)
    rows = [Row(f"m/train/{i}.wav", "m", domain="target" if i % 2 else "source", group=f"g{i // 2}") for i in range(n)]
    order = range(n) if order is None else order
    return build_bank(vectors[list(order)], [rows[i] for i in order], {"encoder": {"name": "x"}}, {"k": 1})


def test_a_bank_comes_back_as_it_went(tmp_path):
    bank = make_bank()
    save_bank(bank, tmp_path / "b.safetensors")
    again = load_bank(tmp_path / "b.safetensors")
    assert np.array_equal(again.vectors, bank.vectors)
    assert (again.rows, again.made_by, again.settings) == (bank.rows, bank.made_by, bank.settings)


def test_file_order_changes_no_byte(tmp_path):
    save_bank(make_bank(), tmp_path / "a")
    save_bank(make_bank(order=[3, 1, 4, 0, 2]), tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_rows_without_a_group_are_alone():
    bank = make_bank()
    bank = dataclasses.replace(bank, rows=tuple(dataclasses.replace(row, group="") for row in bank.rows))
    assert len(set(bank.groups)) == len(bank)


def test_select_keeps_facts_beside_their_vectors():
    bank = make_bank()
    chosen = bank.select(bank.domains == "target")
    assert {row.domain for row in chosen.rows} == {"target"}
    for vector, row in zip(chosen.vectors, chosen.rows, strict=True):
        assert np.array_equal(vector, bank.vectors[bank.rows.index(row)])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_value_that_is_not_finite_is_refused_by_file(bad):
    bank = make_bank()
    vectors = bank.vectors.copy()
    vectors[2, 0, 0] = bad
    with pytest.raises(BankError, match="not finite") as error:
        Bank(vectors, bank.rows)
    assert bank.rows[2].file in str(error.value)


def test_an_empty_bank_is_refused():
    with pytest.raises(BankError, match="empty"):
        build_bank(np.zeros((0, 1, 3), np.float32), [], {})


def header_of(path):
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    return content, length, json.loads(content[8 : 8 + length])


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1],
        lambda content: b"\x80\x04pickle" + content,
        lambda content: b"\xff" * 8 + content[8:],
        lambda content: content.replace(b"vectors", b"vectorz"),
    ],
)
def test_a_damaged_file_is_one_clear_line(tmp_path, damage):
    path = tmp_path / "b.safetensors"
    save_bank(make_bank(), path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(BankError, match=r"b\.safetensors: not an echobank bank") as error:
        load_bank(path)
    assert "\n" not in str(error.value)


def test_a_missing_or_newer_bank_says_what_to_do(tmp_path):
    with pytest.raises(BankError, match="fit it first"):
        load_bank(tmp_path / "none")
    path = tmp_path / "b"
    save_bank(make_bank(), path)
    write_schema(path, 99)
    with pytest.raises(BankError, match="newer echobank"):
        load_bank(path)


def write_schema(path, schema):
    content, length, header = header_of(path)
    text = header["__metadata__"]["echobank"]
    header["__metadata__"]["echobank"] = text.replace(f'"schema": {SCHEMA}', f'"schema": {schema}')
    encoded = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + content[8 + length :])


def test_a_bank_of_the_first_schema_opens(tmp_path):
    path = tmp_path / "b"
    save_bank(make_bank(), path)
    write_schema(path, 1)
    assert load_bank(path).rows == make_bank().rows


def test_extras_follow_their_rows(tmp_path):
    bank = make_bank()
    bank = dataclasses.replace(bank, extras={"profile": bank.vectors[:, 0] * 2})
    save_bank(bank, tmp_path / "b")
    chosen = load_bank(tmp_path / "b").select([3, 1])
    assert np.array_equal(chosen.extras["profile"], chosen.vectors[:, 0] * 2)
    with pytest.raises(BankError, match="one entry a row"):
        dataclasses.replace(bank, extras={"profile": bank.vectors[:2]})

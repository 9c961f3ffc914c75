"""The bank: sorted rows, groups, files that are whole or refused, every older schema."""

import dataclasses
import json
import struct

import numpy as np
import pytest
from safetensors.numpy import load_file
from safetensors.numpy import save as save_tensors

from echobank.detection.bank import SCHEMA, Bank, Row, build_bank, load_bank, save_bank
from echobank.detection.header import BankHeader, Change, OwnMachine, Scoring, ScoringSettings
from echobank.detection.leave_one_out import Dropped, SelfScores
from echobank.detection.threshold import Threshold
from echobank.errors import BankError
from echobank.models.provenance import WindowGrid
from tests.headers import made

MACHINE = OwnMachine(
    "pump", "soundnet", 0.1, ("/a", "/b"), 40, 3, (Change(1, "fit", "2026-01-01", 5, {"files": ["a"]}),)
)
OWN = BankHeader(made(window=WindowGrid(2.0, 1.0)), Scoring("ldn", "euclidean", 2, {"K": 4}), machine=MACHINE)
RUN = BankHeader(made(), ScoringSettings(k=1), (Threshold(0.5, "gamma", 0.1, 5, domain="source"),), versions={"x": "1"})


def make_bank(n=5, seed=0, order=None, header=OWN):
    vectors = np.random.default_rng(seed).standard_normal((n, 2, 3)).astype(np.float32)
    rows = [Row(f"m/train/{i}.wav", "m", domain="target" if i % 2 else "source", group=f"g{i // 2}") for i in range(n)]
    order = range(n) if order is None else order
    return build_bank(vectors[list(order)], [rows[i] for i in order], header)


@pytest.mark.parametrize("header", [OWN, RUN, BankHeader()])
def test_a_bank_comes_back_as_it_went(tmp_path, header):
    bank = make_bank(header=header)
    own = SelfScores(np.arange(5.0), np.arange(5.0) / 3, np.arange(5)[::-1].copy(), np.arange(5.0) / 7)
    full = dataclasses.replace(bank, own=own, dropped=Dropped(np.array([0.5, 0.25]), ("g9", "ü")))
    save_bank(full, tmp_path / "b.safetensors")
    again = load_bank(tmp_path / "b.safetensors")
    assert np.array_equal(again.vectors, bank.vectors) and np.array_equal(again.lengths, bank.lengths)
    assert (again.rows, again.header) == (bank.rows, header)
    for name, array in vars(own).items():
        assert np.array_equal(getattr(again.own, name), array)
    assert (again.dropped.scores.tolist(), again.dropped.groups) == ([0.5, 0.25], ("g9", "ü"))
    save_bank(make_bank(header=header), tmp_path / "c.safetensors")
    assert load_bank(tmp_path / "c.safetensors").own is None


def test_the_library_of_the_format_reads_a_bank(tmp_path):
    bank = make_bank()
    save_bank(dataclasses.replace(bank, extras={"profile": bank.vectors}), tmp_path / "b")
    tensors = load_file(tmp_path / "b")
    assert np.array_equal(tensors["vectors"], bank.vectors) and np.array_equal(tensors["extra.profile"], bank.vectors)


def test_file_order_changes_no_byte(tmp_path):
    save_bank(make_bank(), tmp_path / "a")
    save_bank(make_bank(order=[3, 1, 4, 0, 2]), tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_large_bank_is_mapped_and_no_change_reaches_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr("echobank.detection.tensor_file.MAPPED_BYTES", 100)
    path = tmp_path / "b"
    save_bank(make_bank(50), path)
    before = path.read_bytes()
    bank = load_bank(path)
    assert np.array_equal(bank.vectors, make_bank(50).vectors) and bank.rows == make_bank(50).rows
    bank.vectors[0] = 7
    save_bank(bank.select(np.arange(10)), path)  # replaces the file that is mapped
    assert bank.vectors[0, 0, 0] == 7 and bank.rows[49].file == "m/train/9.wav"
    assert before != path.read_bytes() and len(load_bank(path)) == 10


def test_rows_without_a_group_are_alone():
    bank = make_bank()
    bank = dataclasses.replace(bank, rows=tuple(dataclasses.replace(row, group="") for row in bank.rows))
    assert len(set(bank.groups)) == len(bank)


def test_select_keeps_facts_beside_their_vectors():
    bank = dataclasses.replace(make_bank(), own=SelfScores(np.arange(5.0)))
    chosen = bank.select(bank.domains == "target")
    assert {row.domain for row in chosen.rows} == {"target"} and chosen.own is None
    for vector, row in zip(chosen.vectors, chosen.rows, strict=True):
        assert np.array_equal(vector, bank.vectors[bank.rows.index(row)])
    assert np.array_equal(chosen.lengths, np.linalg.norm(chosen.vectors.astype(float), axis=2))


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
        build_bank(np.zeros((0, 1, 3), np.float32), [])


def header_of(path):
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    return content, length, json.loads(content[8 : 8 + length])


def with_header(path, change):
    content, length, header = header_of(path)
    change(header)
    encoded = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + content[8 + length :])


@pytest.mark.parametrize("mapped", [100, 1 << 30])
@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1],
        lambda content: content + b"x",
        lambda content: b"\x80\x04pickle" + content,
        lambda content: b"\xff" * 8 + content[8:],
        lambda content: content.replace(b"vectors", b"vectorz"),
        lambda content: content.replace(b'"F32"', b'"F99"'),
        lambda content: content.replace(b"row.file.codes", b"row.fail.codes"),
        lambda content: content.replace(b'\\"scoring\\"', b'\\"scaring\\"'),
    ],
)
def test_a_damaged_file_is_one_clear_line(tmp_path, damage, mapped, monkeypatch):
    monkeypatch.setattr("echobank.detection.tensor_file.MAPPED_BYTES", mapped)
    path = tmp_path / "b.safetensors"
    save_bank(make_bank(), path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(BankError, match=r"b\.safetensors: not an echobank bank") as error:
        load_bank(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("offsets", [[-4, 116], [0, 119], [8, 1 << 40], [120, 0], "ab", None, [0]])
def test_offsets_that_lie_are_refused(tmp_path, offsets):
    path = tmp_path / "b.safetensors"
    save_bank(make_bank(), path)
    with_header(path, lambda header: header["vectors"].update(data_offsets=offsets))
    with pytest.raises(BankError, match="not an echobank bank"):
        load_bank(path)


def test_a_code_without_a_word_is_refused(tmp_path):
    bank = make_bank()
    bank.rows.words["file"].codes[2] = 99
    bank.rows.words["file"].packed = lambda: bank.rows.words["file"]
    save_bank(bank, tmp_path / "b")
    with pytest.raises(BankError, match="not an echobank bank"):
        load_bank(tmp_path / "b")


def test_a_missing_or_newer_bank_says_what_to_do(tmp_path):
    with pytest.raises(BankError, match="fit it first"):
        load_bank(tmp_path / "none")
    path = tmp_path / "b"
    save_bank(make_bank(), path)

    def newer(header):
        text = header["__metadata__"]["echobank"]
        header["__metadata__"]["echobank"] = text.replace(f'"schema": {SCHEMA}', '"schema": 99')

    with_header(path, newer)
    with pytest.raises(BankError, match="newer echobank"):
        load_bank(path)


def write_old(path, bank, schema, settings, **made_by):
    """Write a bank as the versions of schema 1 and 2 did."""
    provenance = bank.header.provenance.to_header()
    header = {
        "schema": schema,
        "made_by": {**provenance, **made_by},
        "settings": settings,
        "rows": [dataclasses.asdict(row) for row in bank.rows],
    }
    path.write_bytes(save_tensors({"vectors": bank.vectors}, metadata={"echobank": json.dumps(header)}))


@pytest.mark.parametrize("schema", [1, 2])
def test_a_bank_of_an_own_machine_of_an_older_schema_opens(tmp_path, schema):
    bank = make_bank()
    log = [{"revision": 1, "action": "fit", "at": "2026-01-01", "rows": 5, "files": ["a"]}]
    settings = {
        "machine": "pump",
        "embedding": "soundnet",
        "scoring": {"backend": "ldn", "metric": "euclidean", "k": 2, "params": {"K": 4}},
        "false_alarm_rate": 0.1,
        "roots": ["/a", "/b"],
        "max_rows": 40,
        "revision": 3,
        "log": log,
        "versions": {"numpy": "2"},
        "self_scores": [0.1, 0.2, 0.3, 0.4, 0.5],
        "dropped": {"scores": [9.0], "groups": ["g7"]},
    }
    write_old(tmp_path / "b", bank, schema, settings)
    opened = load_bank(tmp_path / "b")
    assert opened.header == dataclasses.replace(OWN, versions={"numpy": "2"}) and opened.rows == bank.rows
    assert opened.own.scores.tolist() == settings["self_scores"] and opened.dropped.groups == ("g7",)
    save_bank(opened, tmp_path / "b")
    again = load_bank(tmp_path / "b")
    assert (again.header, again.rows) == (opened.header, opened.rows)


def test_a_bank_of_a_run_of_an_older_schema_opens_and_does_not_say_its_channel(tmp_path):
    bank = make_bank(header=RUN)
    scoring = {"backend": "knn", "metric": "cosine", "k": 1, "params": {}, "decision": "gamma"}
    settings = {
        "scoring": {**scoring, "false_alarm_rate": 0.1, "leave_out": "clip"},
        "thresholds": [dataclasses.asdict(RUN.thresholds[0])],
        "self_scores": [0.0] * 5,
        "state_scores": [1.0] * 5,
    }
    without = dataclasses.replace(bank.header.provenance, unrecorded=frozenset({"channel"}))
    write_old(tmp_path / "b", dataclasses.replace(bank, header=BankHeader(without)), 2, settings)
    opened = load_bank(tmp_path / "b")
    assert opened.header == BankHeader(without, RUN.scoring, RUN.thresholds)
    assert opened.own.states.tolist() == [1.0] * 5 and opened.header.machine is None


def test_extras_follow_their_rows(tmp_path):
    bank = make_bank()
    bank = dataclasses.replace(bank, extras={"profile": bank.vectors[:, 0] * 2})
    save_bank(bank, tmp_path / "b")
    chosen = load_bank(tmp_path / "b").select([3, 1])
    assert np.array_equal(chosen.extras["profile"], chosen.vectors[:, 0] * 2)
    with pytest.raises(BankError, match="one entry per row"):
        dataclasses.replace(bank, extras={"profile": bank.vectors[:2]})

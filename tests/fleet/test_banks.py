"""Fit and score over a dataset: the banks of `echobank fit` but for times, the scores of `echobank score`; packs."""

import csv
import json
import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest

from echobank.cli import main
from echobank.detection.bank import load_bank
from echobank.errors import EXIT_ANOMALIES, EXIT_BAD_INPUT, EXIT_OK, EXIT_SKIPPED
from echobank.fleet.bank_cache import BankCache
from echobank.fleet.dataset import VectorDataset
from echobank.fleet.fitting import FitTask, FitWorker, FleetFitSettings, overrides_of
from echobank.fleet.location import Location
from echobank.fleet.scoring import FleetScoreSettings, ScoreTask, ScoreWorker
from echobank.machines.fit import machine_config
from tests.fleet.support import SET, WINDOW, InProcess, heard_in, same_heard, small_fleet
from tests.fleet.test_embed import embed
from tests.requirements import needs

TIMES = ("added", "at")


class HerePool(InProcess):
    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@pytest.fixture
def here(monkeypatch):
    """Have the command line do its tasks in this process."""
    monkeypatch.setattr("echobank.cli.fleet._pool_of", lambda make, args: HerePool(make()))


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    pytest.importorskip("pyarrow", reason="no Ray")
    return small_fleet(tmp_path_factory.mktemp("healthy"), machines=3, days=2, clips=12)


@pytest.fixture(scope="module")
def dataset(healthy, tmp_path_factory):
    out = tmp_path_factory.mktemp("dataset")
    embed(healthy, out)
    return out


def without_times(value):
    if isinstance(value, dict):
        return {name: without_times(one) for name, one in value.items() if name not in TIMES}
    return [without_times(one) for one in value] if isinstance(value, list | tuple) else value


def assert_same_bank(one, other):
    a, b = load_bank(one), load_bank(other)
    assert without_times(a.header.to_header()) == without_times(b.header.to_header())
    assert [without_times(asdict(row)) for row in a.rows] == [without_times(asdict(row)) for row in b.rows]
    assert np.array_equal(a.vectors, b.vectors) and a.extras.keys() == b.extras.keys()
    assert all(np.array_equal(a.extras[name], b.extras[name]) for name in a.extras)
    assert all(np.array_equal(vars(a.own)[name], vars(b.own)[name]) for name in vars(a.own))


def fleet(*argv):
    return main(["fleet", *map(str, argv)])


@pytest.mark.parametrize("tags", ["none", "folders", "load=high"])
def test_banks_are_those_of_fit(here, healthy, dataset, tmp_path, tags, capsys):
    assert fleet("fit", dataset, "--out", tmp_path / "banks", "--tags", tags) == EXIT_OK
    assert "3 banks written" in capsys.readouterr().out
    for machine in ("pump0", "pump1", "pump2"):
        argv = ["fit", str(healthy / machine), "--machine", machine, "--out", str(tmp_path / "own"), *WINDOW, *SET]
        assert main([*argv, "--tags", tags]) == EXIT_OK
        files = (tmp_path / where / machine / "bank.safetensors" for where in ("banks", "own"))
        assert_same_bank(*files)


def test_a_dataset_without_what_flags_are_made_of_gives_banks_without_flags(here, healthy, tmp_path, capsys):
    without = ("--set", "scoring.flag_rate=0")
    argv = [*WINDOW, *SET, *without]
    assert fleet("embed", healthy, "--out", tmp_path / "out", *argv) == EXIT_OK
    assert fleet("fit", tmp_path / "out", "--out", tmp_path / "banks") == EXIT_OK
    own = ["fit", str(healthy / "pump0"), "--machine", "pump0", "--out", str(tmp_path / "own"), "--tags", "none", *argv]
    assert main(own) == EXIT_OK
    assert_same_bank(*(tmp_path / where / "pump0" / "bank.safetensors" for where in ("banks", "own")))
    assert fleet("fit", tmp_path / "out", "--set", "scoring.flag_rate=0.05") == EXIT_BAD_INPUT
    assert "the dataset keeps nothing to make flags of" in capsys.readouterr().err


def test_a_second_fit_keeps_the_banks_and_a_late_recording_fits_one(here, healthy, tmp_path, capsys):
    shutil.copytree(healthy, tmp_path / "in")
    embed(tmp_path / "in", tmp_path / "out")
    fit = ("fit", tmp_path / "out", "--out", tmp_path / "banks")
    assert fleet(*fit) == EXIT_OK
    assert fleet(*fit) == EXIT_OK
    assert "0 banks written" in capsys.readouterr().out
    (tmp_path / "in" / "pump1" / "2026-03-02" / "0.wav").rename(tmp_path / "in" / "pump1" / "2026-03-02" / "late.wav")
    embed(tmp_path / "in", tmp_path / "out")
    assert fleet(*fit) == EXIT_OK  # the same sound twice is a copy, which a fit remembers once
    assert "1 banks written" in capsys.readouterr().out


@needs("ray")
def test_scores_are_those_of_score_and_the_worst_machine_comes_first(ray_here, healthy, dataset, tmp_path, capsys):
    banks, out = tmp_path / "banks", tmp_path / "verdicts"
    assert fleet("fit", dataset, "--out", banks, "--days", "2026-03-01", "--actors", 2) == EXIT_OK
    score = ("score", dataset, "--banks", banks, "--out", out, "--days", "2026-03-02..", "--actors", 1)
    assert fleet(*score) == EXIT_ANOMALIES
    capsys.readouterr()
    import pyarrow.parquet

    for machine in ("pump0", "pump1", "pump2"):
        table = tmp_path / f"{machine}.parquet"
        main(["score", str(banks / machine), str(healthy / machine / "2026-03-02"), "--out", str(table)])
        (found,) = (out / f"machine={machine}").rglob("*.parquet")
        assert pyarrow.parquet.read_table(found, partitioning=None).equals(pyarrow.parquet.read_table(table))
    with (out / "summary.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["share"]) for row in rows] == sorted((float(row["share"]) for row in rows), reverse=True)
    assert rows[0]["machine"] == "pump2" and rows[0]["worst_file"].endswith("pump2/2026-03-02/11.wav")
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")}
    assert fleet(*score) == EXIT_ANOMALIES
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")}


def settings_of(dataset, banks):
    stored = VectorDataset(Location(str(dataset)))
    made = stored.only()
    config = machine_config(None, overrides_of(made))
    return FleetFitSettings(config, stored.at, made, Location(str(banks)))


def test_verdicts_of_an_older_bank_are_replaced(dataset, tmp_path):
    fit = settings_of(dataset, tmp_path / "banks")
    days = ("2026-03-01", "2026-03-02")
    FitWorker(fit).do(FitTask("pump0", days))
    score = FleetScoreSettings(fit.dataset, fit.made, fit.banks, Location(str(tmp_path / "out")))
    task = ScoreTask("pump0", days)
    assert ScoreWorker(score).do(task).fresh == 2
    assert ScoreWorker(replace(score, rate=0.2)).do(task).fresh == 2
    assert len(list((tmp_path / "out").rglob("*.parquet"))) == 2


def test_the_cache_of_banks_is_bounded_and_follows_changes(dataset, tmp_path):
    fit = settings_of(dataset, tmp_path / "banks")
    worker = FitWorker(fit)
    for machine in ("pump0", "pump1", "pump2"):
        worker.do(FitTask(machine, ("2026-03-01",)))
    cache = BankCache(fit.banks, fit.made.provenance, None, most=2)
    first = cache.get("pump0")
    assert cache.get("pump0") is first
    cache.get("pump1"), cache.get("pump2")
    assert len(cache) == 2 and cache.get("pump0") is not first
    worker.do(FitTask("pump0", ("2026-03-01", "2026-03-02")))
    assert len(cache.get("pump0").machine.bank) == 2 * len(first.machine.bank)
    small = BankCache(fit.banks, fit.made.provenance, None, most_bytes=1)
    small.get("pump0"), small.get("pump1")
    assert len(small) == 1


def test_a_machine_that_cannot_be_fitted_or_scored_is_a_line(here, healthy, tmp_path, capsys):
    shutil.copytree(healthy / "pump0", tmp_path / "in" / "good")
    (tmp_path / "in" / "poor" / "2026-03-01").mkdir(parents=True)
    shutil.copy(healthy / "pump1" / "2026-03-01" / "0.wav", tmp_path / "in" / "poor" / "2026-03-01")
    embed(tmp_path / "in", tmp_path / "out")
    assert fleet("fit", tmp_path / "out", "--out", tmp_path / "banks") == EXIT_SKIPPED
    assert "skipped: poor: too little healthy sound" in capsys.readouterr().err
    assert fleet("score", tmp_path / "out", "--banks", tmp_path / "banks", "--out", tmp_path / "v") in (1, EXIT_SKIPPED)
    assert "no bank of this machine" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("fit", "{}", "--set", "model.pooling=max"), "the dataset was made with pooling 'mean'"),
        (("fit", "{}", "--machines", "moon"), "the dataset has no such machine"),
        (("fit", "{}", "--days", "1999-01-01"), "no embeddings of these days"),
        (("fit", "{}", "--key", "ffff"), "no embeddings here"),
    ],
)
def test_bad_input_is_one_line(here, dataset, argv, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert fleet(*(word.format(dataset) for word in argv)) == EXIT_BAD_INPUT
    assert said in capsys.readouterr().err


def test_packs_hold_the_files_as_they_were(here, healthy, dataset, tmp_path, capsys):
    pack = ("pack", healthy, "--out", tmp_path / "packs", "--time", r"/(?P<h>\d)[^/]*$")
    assert fleet(*pack) == EXIT_OK
    assert "72 recordings in 60 packs" in capsys.readouterr().out
    assert fleet(*pack) == EXIT_OK
    assert "0 recordings in 0 packs" in capsys.readouterr().out
    tally, pool = embed(tmp_path / "packs", tmp_path / "out")
    assert (tally.new.recordings, len(tally.errors)) == (72, 0)
    plain, packed = heard_in(dataset), heard_in(tmp_path / "out")
    assert plain.keys() == packed.keys()
    moved = {name: replace(heard, path=plain[name].path) for name, heard in packed.items()}
    assert all(same_heard(moved[name], plain[name]) for name in plain)
    again, pool = embed(tmp_path / "packs", tmp_path / "out")
    assert (pool.asked, again.known) == (0, 72)


def test_a_damaged_pack_is_an_error_row(healthy, tmp_path):
    folder = tmp_path / "packs" / "pump0" / "2026-03-01"
    folder.mkdir(parents=True)
    (folder / "00-x.pack.parquet").write_bytes(b"half a pack")
    tally, _ = embed(tmp_path / "packs", tmp_path / "out")
    assert tally.new.errors == 1 and "not a recording" in json.dumps(tally.errors.counts)

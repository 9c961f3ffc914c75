"""The default of `fit`: local density normalisation; fewer neighbours in a small bank, none in a very large one."""

import numpy as np
import pytest

from echobank.cli import main
from echobank.detection.bank import Row, build_bank, load_bank
from echobank.detection.fitted import make
from echobank.detection.header import BankHeader, Scoring
from echobank.errors import BankError
from echobank.machines import neighbourhood
from echobank.machines.fit import machine_config
from echobank.machines.neighbourhood import K, supported, within_means
from tests.machines.sounds import healthy_folder

DEFAULT = Scoring("ldn", "cosine", 1, {"K": K})


def bank_of(*sizes, scoring=DEFAULT):
    groups = [str(number) for number, size in enumerate(sizes) for _ in range(size)]
    rng = np.random.default_rng(0)
    vectors = 1 + rng.standard_normal((len(groups), 1, 8)).astype(np.float32)
    rows = [Row(f"{i}.wav", "pump", group=group) for i, group in enumerate(groups)]
    return build_bank(vectors, rows, BankHeader(None, scoring))


@pytest.mark.parametrize("sizes", [(1, 1, 1), (3, 1, 2, 2), (5, 5, 1), (4,) * 7, (1,) * 18])
def test_what_is_supported_is_the_largest_number_of_neighbours_that_works(sizes):
    bank = bank_of(*sizes)
    most = supported(bank)
    own = make(Scoring("ldn", "cosine", 1, {"K": most})).fit(bank).self_scores()
    assert np.isfinite(own).all()
    with pytest.raises(BankError, match="neighbours of each row"):
        make(Scoring("ldn", "cosine", 1, {"K": most + 1})).fit(bank).self_scores()


def test_a_small_bank_takes_fewer_neighbours_and_says_so():
    bank, said = within_means(bank_of(2, 2, 2, 2))
    assert bank.header.scoring == Scoring("ldn", "cosine", 1, {"K": 4})
    assert "K=4" in said and "16" in said
    large = bank_of(*(2,) * 12)
    assert within_means(large) == (large, "")


@pytest.mark.parametrize("sizes", [(1, 1), (8, 3)])
def test_two_recordings_are_scored_by_nearest_neighbours(sizes):
    bank, said = within_means(bank_of(*sizes))
    assert bank.header.scoring == Scoring("knn", "cosine", 1, {})
    assert "knn" in said
    assert np.isfinite(make(bank.header.scoring).fit(bank).self_scores()).all()


def test_a_very_large_bank_is_scored_by_nearest_neighbours(monkeypatch):
    monkeypatch.setattr(neighbourhood, "MOST_ROWS", 40)
    bank, said = within_means(bank_of(*(2,) * 21))
    assert bank.header.scoring.backend == "knn" and "42 windows" in said
    asked = bank_of(*(2,) * 21, scoring=Scoring("ldn", "cosine", 1, {"K": 2}))  # nobody's default
    assert within_means(asked) == (asked, "")


def test_other_back_ends_are_left_alone():
    bank = bank_of(1, 1, scoring=Scoring("knn", "cosine", 3))
    assert within_means(bank) == (bank, "")


def test_the_default_gives_way_to_whatever_is_asked_for(monkeypatch):
    defaults = ("model.embedding=auto", "model.k=1", "scoring.backend=ldn", "scoring.params={K: 16}")
    monkeypatch.setattr("echobank.machines.fit.MACHINE_DEFAULTS", defaults)
    assert (machine_config(None).scoring.backend, machine_config(None).scoring.params) == ("ldn", {"K": 16})
    assert machine_config(None, ["scoring.params={K: 2}"]).scoring.params == {"K": 2}
    assert machine_config(None, ["scoring.backend=knn"]).scoring.params == {}
    assert machine_config("default").scoring.backend == "knn"
    demo = machine_config("demo", ["scoring.backend=varmin"])
    assert (demo.scoring.backend, demo.scoring.params) == ("varmin", {})
    assert machine_config("demo", ["scoring.backend=ldn"]).scoring.params == {"K": 16}


def test_fit_and_remove_by_the_command_line(tmp_path, capsys, monkeypatch):
    defaults = ("model.embedding=logmel_stats", "model.k=1", "scoring.backend=ldn", "scoring.params={K: 16}")
    monkeypatch.setattr("echobank.machines.fit.MACHINE_DEFAULTS", defaults)
    healthy_folder(tmp_path / "healthy", count=10, seconds=2.0)
    fit = ["fit", str(tmp_path / "healthy"), "--machine", "pump", "--out", str(tmp_path / "banks"), "--window", "2s"]
    assert main(fit) == 0
    assert "K=8 neighbours, not 16" in capsys.readouterr().err
    file = tmp_path / "banks/pump/bank.safetensors"
    assert load_bank(file).header.scoring.params == {"K": 8}
    assert main(["bank", "remove", str(file.parent), load_bank(file).rows[0].file]) == 0
    assert "by ldn, K=7" in capsys.readouterr().out
    assert load_bank(file).header.scoring.params == {"K": 7}
    assert main(["score", str(file.parent), str(tmp_path / "healthy")]) in (0, 1)
    capsys.readouterr()
    asked = [*fit, "--set", "scoring.backend=ldn", "--set", "scoring.params={K: 9}"]
    assert main(asked) == 2  # what was asked for is refused, not changed
    assert "9 neighbours of each row are more than the bank can give" in capsys.readouterr().err


def test_a_bare_level_is_refused_before_anything_is_heard(tmp_path, capsys):
    healthy_folder(tmp_path / "healthy", count=4, seconds=2.0)
    fit = ["fit", str(tmp_path / "healthy"), "--machine", "pump", "--out", str(tmp_path / "banks"), "--window", "2s"]
    level = [*fit, "--set", "model.embedding=level"]
    assert main(level) == 2
    said = capsys.readouterr().err
    assert "level are in dB" in said and "--set scoring.metric=euclidean" in said
    assert not (tmp_path / "banks").exists()
    assert main([*level, "--set", "scoring.metric=euclidean"]) == 0

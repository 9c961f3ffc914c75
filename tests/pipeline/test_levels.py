"""Levels go from `train` and `infer` to `evaluate` and `report`."""

import csv
import dataclasses
import json

import pytest

from echobank.cli import main
from echobank.data.audio import read_clip
from echobank.detection.bank import load_bank, save_bank


def test_infer_writes_levels_and_evaluate_shows_level_alone(own_project, capsys):
    assert own_project.all("augmentation.enabled=true") == [0, 0, 0]
    (path,) = own_project.results.glob("level_*.csv")
    assert path.name == "level_fan_section_00_test.csv"
    rows = list(csv.DictReader(path.open()))
    files = {file.name: file for file in own_project.root.rglob("*.wav")}
    for row in rows:
        assert float(row["level_dbfs"]) == pytest.approx(
            read_clip(files[row["file_name"].split("/")[-1]]).rms_dbfs, abs=1e-3
        )
    scores = (own_project.results / "anomaly_score_fan_section_00_test.csv").read_text().splitlines()
    assert {row["file_name"] for row in rows if row["where"] == "test"} == {line.split(",")[0] for line in scores}
    assert sum(row["where"] == "bank" for row in rows) == len(
        list((own_project.root / "dev_data/raw/fan/train").iterdir())
    )
    capsys.readouterr()
    assert main(["evaluate", "--results", str(own_project.results)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("level alone: official score in percent: ") for line in lines)
    assert lines[-1].startswith("official score: ")
    facts = json.loads((own_project.results / "evaluation.json").read_text())
    assert 0 <= facts["level_alone"]["official_score"] <= 1


def test_a_bank_without_levels_is_scored_without_a_word_of_them(own_project, capsys):
    assert own_project.all() == [0, 0, 0]
    (path,) = (own_project.results / "banks").iterdir()
    save_bank(dataclasses.replace(load_bank(path), extras={}), path)
    (own_project.results / "level_fan_section_00_test.csv").unlink()
    assert own_project.run("infer") == 0
    assert main(["evaluate", "--results", str(own_project.results)]) == 0
    assert "level alone" not in capsys.readouterr().out


def test_infer_without_level_scores_as_if_level_were_not_heard(own_project):
    joined = "model.embedding=logmel_stats+level"
    both = (joined, "scoring.backend=mean_fusion", "scoring.params={members: 'knn@logmel_stats+knn@level'}")
    assert own_project.all(*both) == [0, 0, 0]
    heard = own_project.outputs()
    assert own_project.run("infer", *both, "scoring.level=off") == 0
    without = {name: text for name, text in own_project.outputs().items() if name.endswith(".csv")}
    assert own_project.all(joined, "scoring.backend=knn@logmel_stats") == [0, 0, 0]
    alone = {name: text for name, text in own_project.outputs().items() if name.endswith(".csv")}
    assert without == alone and any(alone[name] != heard[name] for name in alone)

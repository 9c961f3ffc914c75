"""Every number of the official evaluator's output, from the same truth and scores."""

import csv
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from echobank.cli import main
from echobank.evaluation.submission import read_scores
from echobank.evaluation.truth import load_truth


@pytest.fixture(scope="module")
def ours(official, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "evaluation.csv"
    script = [sys.executable, "scripts/dcase_task2_scoring.py"]
    done = subprocess.run(
        [*script, "--results", official / "teams/alpha/alpha_1", "--truth", official, "--out", out],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    return out, done.stdout


def test_every_number_equals_the_official_output(official, ours):
    expected = list(csv.reader((official / "expected_alpha_1_result.csv").open()))
    written = list(csv.reader(ours[0].open()))
    numbers = 0
    for theirs, row in zip(expected, written, strict=False):
        assert len(theirs) == len(row)
        for cell, value in zip(theirs, row, strict=True):
            try:
                assert float(value) == pytest.approx(float(cell), rel=0, abs=1e-12)
                numbers += cell not in ("00", "01")
            except ValueError:
                assert value == cell
    assert numbers == 3 * (2 * 10 + 4 * 5) + 4 * 5 + 2
    tail = {row[0]: row for row in written[len(expected) :] if row}
    assert "official score 95 % jackknife over machines" in tail


def test_last_line_is_the_official_score_in_full_precision(ours):
    last = ours[1].splitlines()[-1]
    label, number = last.split(": ")
    assert label == "official score"
    assert float(number) == pytest.approx(0.6345146042834844, rel=0, abs=1e-12)
    assert repr(float(number)) == number


@pytest.mark.parametrize("place", ["ground_truth_data", "deep", "attributes only"])
def test_truth_is_found_wherever_it_lies(official, tmp_path, place):
    scores = read_scores(official / "teams")
    whole = load_truth(scores, official)
    if place == "ground_truth_data":
        assert load_truth(scores, official / place) == whole
        return
    for kind in ("data", "attributes") if place == "attributes only" else ("data", "domain"):
        shutil.copytree(official / f"ground_truth_{kind}", tmp_path / "a/b" / f"ground_truth_{kind}")
    assert load_truth(scores, tmp_path) == whole


def test_contradicting_truth_is_refused(official, tmp_path, capsys):
    for kind in ("data", "domain", "attributes"):
        shutil.copytree(official / f"ground_truth_{kind}", tmp_path / f"ground_truth_{kind}")
    path = tmp_path / "ground_truth_domain" / "ground_truth_Windmill_section_00_test.csv"
    path.chmod(0o644)
    lines = path.read_text().splitlines()
    name, number = lines[5].split(",")
    lines[5] = f"{name},{1 - int(number)}"
    path.write_text("\n".join(lines))
    assert main(["evaluate", "--results", str(official / "teams"), "--truth", str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert name in message and "ground_truth_Windmill" in message and "contradict" in message

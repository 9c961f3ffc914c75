"""Banks of your own machines score, explain and are kept as by the version before (tests/golden/before)."""

import csv
import dataclasses
import io

import numpy as np
import pytest

from echobank import Detector
from echobank.detection.bank import load_bank
from tests.golden.before import scenes
from tests.golden.before.backends import unpack
from tests.golden.before.compare import NEAREST, same_cell, same_flags, same_level, same_step
from tests.golden.before.places import HERE, inside

pytestmark = pytest.mark.usefixtures("front_end_of_before")

NEEDS = {"beats": "torch", "onnx": "onnxruntime", "stereo": "onnxruntime"}
EXPLAINED = ("regions", "sentences")  # a bank that is fitted now is explained better: see test_explain.py
NOT_COSINE = ("beats", "joined", "long")  # there `nearest` is now that of the bank's own metric, as the score


@pytest.fixture(params=scenes.OWN)
def scene(request):
    if request.param in NEEDS:
        pytest.importorskip(NEEDS[request.param], reason=f"no {NEEDS[request.param]}")
    return request.param


def replayed(folder, name, first=0):
    steps, making = scenes.stored(HERE, "own", name)
    first = making if first else 0
    for old, new in zip(steps[first:], scenes.play(folder, [s["command"] for s in steps[first:]]), strict=True):
        skip = NEAREST if name in NOT_COSINE else () if first else EXPLAINED
        same_step(old, new, name, skip)


def test_from_recordings(scene, before, tmp_path):
    """Fit and score again: everything is as before."""
    replayed(scenes.enter(before, tmp_path / "work"), scene)


def test_with_a_bank_of_before(scene, before, tmp_path):
    """A bank that the version before wrote opens and is scored and changed as before."""
    folder = scenes.enter(before, tmp_path / "work")
    scenes.put_banks(HERE, "own", scene, folder)
    replayed(folder, scene, first=1)


def test_from_python(before, tmp_path):
    """`Detector` fits the bank of before, and gives the verdicts that the command line gave."""
    steps, _ = scenes.stored(HERE, "own", "pump")
    table = list(csv.DictReader(io.StringIO(steps[1]["out"])))
    folder = scenes.enter(before, tmp_path / "work")
    scenes.put_banks(HERE, "own", "pump", folder)
    with inside(folder):
        fitted = Detector(
            "pump", seconds=2.0, hop=1.0, settings=["model.embedding=logmel_stats", "scoring.backend=knn"]
        ).fit("healthy")
        for detector in (fitted, Detector.load("banks/pump")):
            verdicts = detector.score("new")
            for old, verdict in zip(table, verdicts, strict=True):
                new = dataclasses.asdict(verdict)
                for column, cell in old.items():
                    if column == "level_dbfs" and cell:
                        same_level(float(cell), new[column], f"{old['file']} {old['start']} {column}")
                    elif column == "flags":
                        same_flags(cell, new[column], f"{old['file']} {old['start']} {column}")
                    elif column != "error":
                        value = new[column]
                        same_cell(cell, "" if value is None else str(value), f"{old['file']} {old['start']} {column}")
        fitted.save("banks/again")
    old = load_bank(unpack(HERE, "own_pump", tmp_path / "stored.safetensors"))
    new = load_bank(folder / "banks/again/bank.safetensors")
    facts = [(r.file, r.machine, r.domain, r.sha256, r.group, r.start, r.seconds) for r in old.rows]
    assert [(r.file, r.machine, r.domain, r.sha256, r.group, r.start, r.seconds) for r in new.rows] == facts
    np.testing.assert_allclose(new.vectors, old.vectors, rtol=1e-6, atol=1e-6 * np.abs(old.vectors).max())
    np.testing.assert_allclose(new.extras["profile"], old.extras["profile"], rtol=1e-5, atol=1e-5)

"""A run on DCASE recordings gives the scores, decisions and tables of the version before (tests/golden/before)."""

import numpy as np
import pytest

from echobank.detection.bank import load_bank
from tests.golden.before import scenes
from tests.golden.before.backends import unpack
from tests.golden.before.compare import same_step
from tests.golden.before.places import HERE

pytestmark = pytest.mark.usefixtures("front_end_of_before")

NEEDS = {"beats": "torch", "onnx": "onnxruntime", "study": "onnxruntime"}
TRAINED = [name for name, (_, making) in scenes.DCASE.items() if making]


@pytest.fixture
def scene(request):
    if request.param in NEEDS:
        pytest.importorskip(NEEDS[request.param], reason=f"no {NEEDS[request.param]}")
    return request.param


def replayed(folder, name, first=0):
    steps, making = scenes.stored(HERE, "dcase", name)
    first = making if first else 0
    for old, new in zip(steps[first:], scenes.play(folder, [s["command"] for s in steps[first:]]), strict=True):
        same_step(old, new, name)


@pytest.mark.parametrize("scene", scenes.DCASE, indirect=True)
def test_from_recordings(scene, before, tmp_path):
    """Train and score again: banks and tables are as before."""
    folder = scenes.enter(before, tmp_path / "work")
    replayed(folder, scene)
    if scene in TRAINED:
        same_bank(load_bank(folder / "results/banks/fan_section_00.safetensors"), f"dcase_{scene}", tmp_path)


@pytest.mark.parametrize("scene", TRAINED, indirect=True)
def test_with_banks_of_before(scene, before, tmp_path):
    """Banks that the version before wrote open and score as before."""
    folder = scenes.enter(before, tmp_path / "work")
    scenes.put_banks(HERE, "dcase", scene, folder)
    replayed(folder, scene, first=1)


def test_a_bank_of_the_first_schema_scores_as_before(before, tmp_path):
    folder = scenes.enter(before, tmp_path / "work")
    scenes.put_banks(HERE, "dcase", "logmel", folder)
    unpack(HERE, "dcase_first", folder / "results/banks/fan_section_00.safetensors")
    replayed(folder, "logmel", first=1)


def same_bank(new, name, tmp_path):
    old = load_bank(unpack(HERE, name, tmp_path / "stored.safetensors"))
    assert [(r.file, r.domain, r.group, r.sha256, r.augmentation, r.attributes) for r in new.rows] == [
        (r.file, r.domain, r.group, r.sha256, r.augmentation, r.attributes) for r in old.rows
    ]
    np.testing.assert_allclose(new.vectors, old.vectors, rtol=1e-6, atol=1e-6 * np.abs(old.vectors).max())

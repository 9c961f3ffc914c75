"""The references of BEATs in tests/golden/beats, made with the official code; see the README there."""

import atexit
import json
import shutil
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from tests.golden.weights_rule import Shapes, digest, state_dict

FOLDER = Path(__file__).parents[1] / "golden" / "beats"
WAVES = ("noise_1s", "motor_10s", "chirp_0p5s", "silence_2s", "odd_3p217s")
TINY = ("tiny_ssl", "tiny_finetuned")


@cache
def arrays(name: str) -> dict[str, np.ndarray]:
    """Return the arrays of one reference file."""
    return dict(np.load(FOLDER / f"{name}.npz"))


@cache
def official(name: str, wave: str, what: str = "final") -> np.ndarray:
    """Return what the official code gives: tokens of the last layer [P, D], `layers_mean` [layers, D] or `probs`."""
    return arrays(name)[f"{wave}/{what}"]


@cache
def model_facts() -> dict[str, dict]:
    """Return settings, salt, shapes and digest of the weights of every reference model."""
    return json.loads((FOLDER / "models.json").read_text("utf-8"))


def rule_weights(name: str, shapes: Shapes | None = None) -> dict[str, np.ndarray]:
    """Return the weights of a reference model; `shapes` for the one whose shapes are not written down."""
    facts = model_facts()[name]
    state = state_dict(shapes or facts["shapes"], facts["salt"])
    assert digest(state) == facts["sha256"], "this numpy draws other random numbers than the references were made with"
    return state


@cache
def tiny_file(name: str) -> Path:
    """Return one of TINY as a checkpoint in the official format, written once per process."""
    import torch

    folder = Path(tempfile.mkdtemp(prefix="echobank-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    state = {key: torch.from_numpy(value) for key, value in rule_weights(name).items()}
    torch.save({"cfg": model_facts()[name]["cfg"], "model": state}, folder / f"{name}.pt")
    return folder / f"{name}.pt"

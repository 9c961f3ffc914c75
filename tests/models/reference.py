"""Numeric references made with the official BEATs code, where they are at hand."""

import importlib.util
from functools import cache
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[3] / "shared/reference/beats"
WAVES = ("noise_1s", "motor_10s", "chirp_0p5s", "silence_2s", "odd_3p217s")
needs_reference = pytest.mark.skipif(not FOLDER.is_dir(), reason="the reference numbers are not at hand")


@cache
def arrays(name: str) -> dict[str, np.ndarray]:
    """Return the arrays of one reference file."""
    return dict(np.load(FOLDER / f"{name}.npz"))


def rule_weights(shapes: dict[str, tuple[int, ...]], salt: int) -> dict[str, np.ndarray]:
    """Return the state dict that the reference rule gives."""
    spec = importlib.util.spec_from_file_location("weights_rule", FOLDER / "weights_rule.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.state_dict(shapes, salt)

"""The course of a training run as files: a table of its numbers and a picture of its curves."""

from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from echobank.errors import InputError
from echobank.storage import atomic_path, write_json
from echobank.training.training_state import TrainingJournal


def can_draw() -> bool:
    """Return whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def write_journal(journal: TrainingJournal, path: Path) -> Path:
    """Write losses, learning rates and validations as JSON.

    Raises:
        OutputError: The file cannot be written.
    """
    write_json(path, asdict(journal))
    return path


def draw_curves(journal: TrainingJournal, path: Path, title: str) -> Path:
    """Draw loss, validation and learning rate over the steps; the file's suffix says the format (svg, png).

    Raises:
        InputError: matplotlib is not installed; see `can_draw`.
        OutputError: The file cannot be written.
    """
    if not can_draw():
        raise InputError("curves need matplotlib", hint="pip install 'echobank[report]'")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    steps = np.arange(1, journal.step + 1)
    upper.plot(steps, journal.losses, color="0.75", linewidth=0.8, label="loss of a step")
    width = max(1, journal.step // 50)
    if journal.step > width:
        mean = np.convolve(journal.losses, np.ones(width) / width, mode="valid")
        upper.plot(steps[width - 1 :], mean, color="C0", label=f"mean of {width} steps")
    if journal.validations:
        right = upper.twinx()
        at, values = zip(*journal.validations, strict=True)
        right.plot(at, values, color="C1", marker="o", markersize=3, label="validation")
        right.set_ylabel("validation (lower is better)")
        right.legend(loc="upper right")
    upper.set(ylabel="loss", title=title)
    upper.legend(loc="upper center")
    lower.plot(steps, journal.rates, color="C2")
    lower.set(xlabel="step", ylabel="learning rate")
    kind = path.suffix.lstrip(".") or "svg"
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=kind, metadata={"Date": None} if kind == "svg" else None)
    return path

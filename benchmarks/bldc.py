"""Real motors: fit on the healthy recordings of one motor but one speed, score everything else, for each such pair.

Reads the brushless-motor recordings of Universidad del Cauca (Mendeley Data j4yr5fmhv4, CC BY 4.0) laid out as
<root>/{Healthy,Propeller,Bearing}/<motor>/<speed>.wav, and prints a Markdown table.

    python benchmarks/bldc.py [--root DIR]
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from recordings import add_recordings
from sklearn.metrics import roc_auc_score

from echobank import Detector
from echobank.errors import BankError, InputError

COLUMNS = ("motor", "held-out speed", "held-out healthy", "propeller", "bearing (M4)", "other healthy motors", "AUC")


def median_scores(detector: Detector, files: list[Path]) -> dict[Path, tuple[float, float]]:
    """Return (median score, share of anomalous windows) of each recording."""
    found: dict[Path, list[tuple[float, int]]] = {}
    for verdict in detector.score(files):
        if verdict.score is not None and verdict.decision is not None:
            found.setdefault(Path(verdict.file), []).append((verdict.score, verdict.decision))
    return {
        file: (float(np.median([score for score, _ in rows])), float(np.mean([odd for _, odd in rows])))
        for file, rows in found.items()
    }


def line(root: Path, motor: str, held_out: Path, settings: tuple[str, ...]) -> tuple[list[str], float]:
    """Return one row of the table, and its AUC."""
    healthy = [path for path in sorted((root / "Healthy" / motor).glob("*.wav")) if path != held_out]
    detector = Detector(motor, seconds=2.0, hop=1.0, settings=settings).fit(healthy)
    own = sorted((root / "Propeller" / motor).glob("*.wav"))
    bearing = sorted((root / "Bearing").rglob("*.wav"))
    others = [path for path in sorted((root / "Healthy").rglob("*.wav")) if path.parent.name != motor]
    scores = median_scores(detector, [held_out, *own, *bearing, *others])
    odd = {name: [scores[p][1] > 0.5 for p in files] for name, files in (("o", own), ("b", bearing), ("h", others))}
    parts = [f"{sum(odd[name])} of {len(odd[name])}" if odd[name] else "none" for name in "obh"]
    faults = [scores[path][0] for path in own]
    auc = float("nan")
    if faults:
        auc = float(roc_auc_score([0] + [1] * len(faults), [scores[held_out][0], *faults]))
    alarm = "alarm" if scores[held_out][1] > 0.5 else "no alarm"
    return [motor, held_out.stem, alarm, *parts, f"{auc:.2f}" if faults else "-"], auc


def table(root: Path, settings: tuple[str, ...]) -> str:
    """Return the Markdown table of every motor and held-out speed."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    areas = []
    for motor in sorted(path.name for path in (root / "Healthy").iterdir()):
        for held_out in sorted((root / "Healthy" / motor).glob("*.wav")):
            row, auc = line(root, motor, held_out, settings)
            areas.append(auc)
            lines.append("| " + " | ".join(row) + " |")
    return "\n".join([*lines, "", f"mean AUC {np.nanmean(areas):.3f} over {int(np.isfinite(areas).sum())} fits"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_recordings(parser, "--root", "bldc_motors")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    args = parser.parse_args()
    if not args.root.is_dir():
        print(f"skipped: no recordings in {args.root}")
        sys.exit(0)
    try:
        print(table(args.root, tuple(args.set)))
    except (BankError, InputError) as error:
        sys.exit(str(error))

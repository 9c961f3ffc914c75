"""The small default: which detector `auto` and `fit` take without BEATs, by a rule that was written down first.

    python benchmarks/small_default.py [--recordings DIR] [--work DIR]

Data: the ToyCar half of DCASE 2023, two pairs of real slide rails in a first-shot layout (`slider_pairs.py`), and real
brushless motors of which one speed is held out. The rule, fixed before the runs: no data set more than 1 point below
today's default (soundnet, cosine 1-NN); then the largest mean gain over the three data sets; candidates within half a
point of the best are a tie, and a tie goes to the simpler, that is to the one that stands higher in `CANDIDATES`.

Every candidate is a back-end on parts of one joined embedding, so that each recording is embedded once. Nothing looks
at a test clip or a label when it scores.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from recordings import recordings_root
from sklearn.metrics import roc_auc_score

from echobank import Detector
from echobank.config import load_config
from echobank.detection.backends import make_backend
from echobank.evaluation.grid import parse_grid
from echobank.pipeline.preprocess import preprocess
from echobank.pipeline.run import Run
from echobank.pipeline.study import study

ENCODER = "soundnet+level+spectrum"
SPECTRUM = "mahalanobis@spectrum:metric=euclidean"
CANDIDATES = {  # the simpler ones first
    "soundnet 1-NN (today)": ("knn@soundnet", {}),
    "soundnet LDN K = 16": ("ldn@soundnet", {"K": 16}),
    **{
        f"{name} + level, {kind} of {z} z": (f"{kind}_fusion", {"members": f"{member}+knn@level", "z": z})
        for name, member in (("1-NN", "knn@soundnet"), ("LDN", "ldn@soundnet:K=16"))
        for kind in ("mean", "max")
        for z in ("robust", "plain")
    },
    "LDN + level + spectrum, mean of robust z": (
        "mean_fusion",
        {"members": f"ldn@soundnet:K=16+knn@level+{SPECTRUM}", "z": "robust"},
    ),
    "level alone": ("knn@level", {}),
}
TODAY = next(iter(CANDIDATES))


def challenge(root: Path, work: Path) -> dict[str, tuple[float, float, float]]:
    """Return official score and its 95 % interval over clips, percent, of each candidate on DCASE recordings."""
    overrides = [f"data.root={str(root)!r}", f"data.cache={str(work / 'cache')!r}", f"output.dir={str(work)!r}"]
    config = load_config("default", [*overrides, f"model.embedding={ENCODER}", "model.k=1"])
    preprocess(Run(config))
    words = [grid_word(backend, params) for backend, params in CANDIDATES.values()]
    results = study(Run(config), parse_grid([f"backend={','.join(words)}"], config)).results
    found = {}
    for name, result in zip(CANDIDATES, results, strict=True):
        if result.evaluation is None:
            sys.exit(f"{name}: {result.failure}")
        interval = result.over_clips
        found[name] = tuple(100 * x for x in (result.evaluation.official_score, interval.low, interval.high))
    return found


def grid_word(backend: str, params: dict[str, object]) -> str:
    """Return a back-end as `--grid` takes it."""
    return ":".join(
        [backend, *(f"{key}=({value})" if ":" in str(value) else f"{key}={value}" for key, value in params.items())]
    )


def motors(root: Path) -> dict[str, tuple[float, int, int]]:
    """Return AUC (percent), held-out healthy and faults above the largest own median, of each candidate.

    For each motor and speed: bank of the motor's other healthy speeds, windows of 2 s; a recording scores by its median
    window. The AUC is of propeller faults of that motor against its held-out healthy recording, mean over fits.
    """
    settings = [f"model.embedding={ENCODER}", "scoring.backend=knn@soundnet", "model.k=1"]
    areas = {name: [] for name in CANDIDATES}
    above = {name: np.zeros(2, int) for name in CANDIDATES}
    for folder in sorted((root / "Healthy").iterdir()):
        healthy = sorted(folder.glob("*.wav"))
        faults = sorted((root / "Propeller" / folder.name).glob("*.wav"))
        detector = Detector(folder.name, seconds=2.0, hop=1.0, settings=settings).fit(healthy)
        bank = detector.machine_.bank
        files = np.array([row.file for row in bank.rows])
        heard = [item.vectors for item in detector.machine_.listener.hear(faults)]
        for path in healthy:
            rest, held_out = bank.select(files != path.name), bank.vectors[files == path.name]
            own_files = files[files != path.name]
            for name, (backend, params) in CANDIDATES.items():
                fitted = make_backend(backend, k=1, metric="cosine", params=params).fit(rest)
                own = fitted.self_scores()
                limit = max(float(np.median(own[own_files == file])) for file in np.unique(own_files))
                good = float(np.median(fitted.score(held_out)))
                bad = [float(np.median(fitted.score(vectors))) for vectors in heard]
                above[name] += (good > limit, sum(score > limit for score in bad))
                if bad:
                    areas[name].append(roc_auc_score([0] + [1] * len(bad), [good, *bad]))
    return {name: (100 * float(np.mean(areas[name])), int(above[name][0]), int(above[name][1])) for name in CANDIDATES}


def choose(table: dict[str, tuple[float, float, float]]) -> str:
    """Return the candidate that the rule takes, from figures of the three data sets, percent."""
    today = np.array(table[TODAY])
    gains = {
        name: float(np.mean(np.array(figures) - today))
        for name, figures in table.items()
        if name != "level alone" and (np.array(figures) >= today - 1).all()
    }
    best = max(gains.values())
    return next(name for name, gain in gains.items() if gain >= best - 0.5)


def main() -> None:
    """Print a table of every candidate, and what the rule takes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=Path, default=recordings_root(), help="folder of docs/recordings.md")
    parser.add_argument("--work", type=Path, help="folder for caches (default: a temporary one)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = args.work or Path(temporary)
        pairs = work / "pairs"
        subprocess.run([sys.executable, args.recordings / "slider_pairs.py", pairs], check=True)
        toycar = challenge(args.recordings / "dcase2023_toycar_half", work / "toycar")
        slider = challenge(pairs, work / "slider")
        bldc = motors(args.recordings / "bldc_motors")
    print("| scoring | slider, 2 pairs | ToyCar half | motors AUC | motors: healthy, faults above own | mean gain |")
    print("|---|---|---|---|---|---|")
    table = {name: (slider[name][0], toycar[name][0], bldc[name][0]) for name in CANDIDATES}
    for name in CANDIDATES:
        a, b = ("{:.1f} ({:.1f} to {:.1f})".format(*figures[name]) for figures in (slider, toycar))
        gain = float(np.mean(np.array(table[name]) - np.array(table[TODAY])))
        print(f"| {name} | {a} | {b} | {bldc[name][0]:.1f} | {bldc[name][1]}, {bldc[name][2]} | {gain:+.1f} |")
    print(f"\nThe rule takes: {choose(table)}")


if __name__ == "__main__":
    main()

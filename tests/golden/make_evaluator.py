"""Makes the invented truth and scores of tests/golden/evaluator, and has the official evaluator judge them.

git clone https://github.com/nttcslab/dcase2024_task2_evaluator
pip install pandas seaborn librosa    # what it imports beyond echobank[dev]; Python 3.11, for distutils
python -m tests.golden.make_evaluator --official dcase2024_task2_evaluator            # compare
python -m tests.golden.make_evaluator --official dcase2024_task2_evaluator --write    # write
"""

import argparse
import csv
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).with_name("evaluator")
MACHINES = {"Kettle": 0.4, "PaperShredder": 1.0, "Windmill": 2.0}  # invented; by how much an anomaly stands out
SECTIONS = ("00", "01")
CLIPS = 40
TEAM = "teams/alpha/alpha_1"
EXPECTED = "expected_alpha_1_result.csv"


def main() -> int:
    """Compare, or write with --write; return 1 where the official program gives another file than the committed one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--official", type=Path, required=True, metavar="DIR", help="a checkout of it")
    parser.add_argument("--write", action="store_true", help="write the files of tests/golden/evaluator")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        for number, (machine, gap) in enumerate(MACHINES.items()):
            for section in SECTIONS:
                invent(place, machine, section, gap, np.random.default_rng([number, int(section)]))
        text = official_result(args.official.resolve(), place)
        if not args.write:
            same = text == (FOLDER / EXPECTED).read_text("utf-8")
            print("the same result" if same else text)
            return int(not same)
        shutil.rmtree(FOLDER, ignore_errors=True)
        for name in ("ground_truth_data", "ground_truth_domain", "ground_truth_attributes", "teams"):
            shutil.copytree(place / name, FOLDER / name)
    (FOLDER / EXPECTED).write_text(text, "utf-8")
    return 0


def invent(place: Path, machine: str, section: str, gap: float, rng: np.random.Generator) -> None:
    """Write truth, scores (with ties) and decisions of one section, half source and half target, half anomalous."""
    kinds = [(domain, anomaly) for domain in (0, 1) for anomaly in (0, 1)] * (CLIPS // 4)
    kinds = [kinds[i] for i in rng.permutation(CLIPS)]
    drawn = [rng.normal(gap * anomaly + 0.3 * domain) for domain, anomaly in kinds]
    scores = [round(score, 1 if i % 3 else 15) for i, score in enumerate(drawn)]
    blind = [f"section_{section}_{i:04d}" for i in range(CLIPS)]
    names = [
        f"section_{section}_{('source', 'target')[domain]}_test_{('normal', 'anomaly')[anomaly]}_{i:04d}_load_{i % 3}"
        for i, (domain, anomaly) in enumerate(kinds)
    ]
    stem = f"{machine}_section_{section}_test.csv"
    truth = f"ground_truth_{stem}"
    write(place / "ground_truth_data" / truth, ((f"{b}.wav", a) for b, (_, a) in zip(blind, kinds, strict=True)))
    write(place / "ground_truth_domain" / truth, ((f"{b}.wav", d) for b, (d, _) in zip(blind, kinds, strict=True)))
    write(place / "ground_truth_attributes" / truth, ((f"{b}.wav", n) for b, n in zip(blind, names, strict=True)))
    write(place / TEAM / f"anomaly_score_{stem}", ((f"{b}.wav", s) for b, s in zip(blind, scores, strict=True)))
    decided = ((f"{b}.wav", int(s > 0.5)) for b, s in zip(blind, scores, strict=True))
    write(place / TEAM / f"decision_result_{stem}", decided)


def write(path: Path, rows: Iterable[tuple[str, object]]) -> None:
    """Write rows as the evaluator reads them, without a header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)


def official_result(official: Path, place: Path) -> str:
    """Return what the official program writes about the team below `place`."""
    command = [sys.executable, official / "dcase2024_task2_evaluator.py"]
    subprocess.run(command, cwd=place, check=True, stdout=subprocess.DEVNULL)
    (result,) = (place / "teams_result").glob("*_result.csv")
    return result.read_text("utf-8")


if __name__ == "__main__":
    raise SystemExit(main())

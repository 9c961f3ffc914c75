"""Encoders on real recordings: one pooling, two back-ends, a table of official scores and of motor faults.

    python benchmarks/encoders_table.py --toycar DIR --motors DIR --encoder mn04=onnx:mn04_features.onnx \
        --encoder beats_tiny=weights/beats_tiny.pt --concat three=logmel_stats+soundnet+mn04

`--toycar` is a DCASE folder with one machine. `--motors` is <root>/{Healthy,Propeller}/<motor>/<speed>.wav: windows of
2 s, the bank is every healthy recording but those of the held-out speeds, tested are the held-out speeds. logmel_stats,
logmel_mean (its first half), soundnet and a random control, the architecture of beats_tiny untrained, are always there.
`--concat NAME=A+B` adds encoders side by side, each dimension z-scored by the bank.
"""

import argparse
import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from recordings import add_recordings

from echobank.data.audio import read_clip
from echobank.data.dcase import Recording, scan
from echobank.data.windows import read_windows
from echobank.detection.backends import make_backend
from echobank.detection.bank import Bank, Row
from echobank.evaluation.intervals import Interval, measure_intervals, percentiles, resample
from echobank.evaluation.metrics import evaluate_labelled, roc_areas
from echobank.evaluation.truth import LabelledScores
from echobank.models.encoder import Encoder
from echobank.models.pooling import Pooling, pool
from echobank.models.registry import load_encoder
from echobank.training.distil_settings import STUDENTS
from echobank.training.student import Student, write_student

Float32 = NDArray[np.float32]
Embed = Callable[[Float32], Float32]

BACKENDS = {"kNN": ("knn", {}), "LDN": ("ldn", {"K": 16})}
SEEDS = 3  # random controls
WINDOW = 2.0  # seconds, of the motors


@dataclasses.dataclass(frozen=True)
class Data:
    """Vectors of a data set: the bank's and the tested ones, float32[n, D], and what is known of each."""

    name: str
    bank: Float32
    rows: tuple[Row, ...]
    tested: Float32
    names: tuple[str, ...]
    anomaly: NDArray[np.bool_]
    domains: NDArray[np.str_]


def main() -> None:
    """Embed once, score with each back-end, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_recordings(parser, "--toycar", "dcase2023_toycar_half")
    add_recordings(parser, "--motors", "bldc_motors")
    parser.add_argument("--held-out", nargs="+", default=["1450", "1650", "1850"], help="motor speeds that are tested")
    parser.add_argument("--encoder", action="append", default=[], metavar="NAME=CARD|FILE")
    parser.add_argument("--concat", action="append", default=[], metavar="NAME=A+B")
    args = parser.parse_args()
    named = dict(text.split("=", 1) for text in args.encoder)
    with tempfile.TemporaryDirectory() as folder:
        controls = {
            f"random {seed}": write_student(Student(STUDENTS["beats_tiny"], seed), Path(folder) / f"{seed}.pt")
            for seed in range(SEEDS)
        }
        encoders = {"logmel_stats": "logmel_stats", "soundnet": "soundnet", **named, **controls}
        found = {name: embed_all(load_encoder(source), args) for name, source in encoders.items()}
    means = [
        dataclasses.replace(d, bank=d.bank[:, : d.bank.shape[1] // 2], tested=d.tested[:, : d.tested.shape[1] // 2])
        for d in found["logmel_stats"]
    ]
    found = {"logmel_mean": means, **found}
    for text in args.concat:
        name, parts = text.split("=", 1)
        found[name] = [side_by_side(group) for group in zip(*(found[part] for part in parts.split("+")), strict=True)]
    print("| encoder | ToyCar kNN | ToyCar LDN | motors kNN | motors LDN |\n|---|---|---|---|---|")
    for name, (toycar, motors) in found.items():
        cells = [official(toycar, backend) for backend in BACKENDS] + [area(motors, backend) for backend in BACKENDS]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def embed_all(encoder: Encoder, args: argparse.Namespace) -> list[Data]:
    """Return the vectors of both data sets."""
    rate = encoder.facts.sample_rate

    def embed(samples: Float32) -> Float32:
        return pool(encoder.tokens([samples])[0], Pooling("mean"))[0]

    return [toycar_data(args.toycar, rate, embed), motor_data(args.motors, set(args.held_out), rate, embed)]


def toycar_data(root: Path, rate: int, embed: Embed) -> Data:
    """Embed the training and test clips of a DCASE folder."""
    clips = scan(root).recordings
    train, test = ([c for c in clips if c.split == split] for split in ("train", "test"))

    def vectors(chosen: Sequence[Recording]) -> Float32:
        return np.stack([embed(read_clip(clip.path, sample_rate=rate).samples) for clip in chosen])

    rows = tuple(Row(clip.name, clip.machine, domain=clip.domain) for clip in train)
    anomaly = np.array([clip.condition == "anomaly" for clip in test])
    domains = np.array([clip.domain for clip in test])
    return Data(test[0].machine, vectors(train), rows, vectors(test), tuple(c.name for c in test), anomaly, domains)


def motor_data(root: Path, held_out: set[str], rate: int, embed: Embed) -> Data:
    """Embed windows of healthy recordings, and of healthy and faulty ones at the held-out speeds."""
    healthy, faulty = (sorted((root / kind).rglob("*.wav")) for kind in ("Healthy", "Propeller"))
    bank = [path for path in healthy if path.stem not in held_out]
    tested = [path for path in (*healthy, *faulty) if path.stem in held_out]

    def windows(path: Path) -> list[Float32]:
        return [embed(w.samples) for w in read_windows(path, seconds=WINDOW, hop=WINDOW, sample_rate=rate)]

    vectors = {path: windows(path) for path in (*bank, *tested)}
    names = [f"{p.parent.parent.name}/{p.parent.name}/{p.name}" for p in tested for _ in vectors[p]]
    rows = tuple(Row(str(path.relative_to(root)), "motor", group=str(path)) for path in bank for _ in vectors[path])
    return Data(
        "motor",
        np.concatenate([vectors[path] for path in bank]),
        rows,
        np.concatenate([vectors[path] for path in tested]),
        tuple(names),
        np.array([path in faulty for path in tested for _ in vectors[path]]),
        np.full(len(names), "source"),
    )


def side_by_side(parts: Sequence[Data]) -> Data:
    """Return encoders side by side, each dimension z-scored by the bank, each encoder with the same weight."""
    banks, tested = [], []
    for part in parts:
        centre, spread = part.bank.mean(axis=0), part.bank.std(axis=0)
        weight = np.float32(1 / np.sqrt(part.bank.shape[1])) / np.maximum(spread, 1e-6)
        banks.append((part.bank - centre) * weight)
        tested.append((part.tested - centre) * weight)
    return dataclasses.replace(parts[0], bank=np.concatenate(banks, axis=1), tested=np.concatenate(tested, axis=1))


def scores(data: Data, backend: str) -> NDArray[np.float64]:
    """Return the anomaly score of each tested vector."""
    name, params = BACKENDS[backend]
    fitted = make_backend(name, k=1, metric="cosine", params=params).fit(Bank(data.bank[:, None], data.rows))
    return fitted.score(data.tested[:, None])


def labelled(data: Data, backend: str) -> LabelledScores:
    """Return the scores with their truth."""
    return LabelledScores(data.name, "00", data.names, scores(data, backend), None, data.anomaly, data.domains)


def official(data: Data, backend: str) -> str:
    """Return the official score and its interval over clips, in percent."""
    item = labelled(data, backend)
    return told(evaluate_labelled([item]).official_score, measure_intervals([item]).score_over_clips)


def area(data: Data, backend: str) -> str:
    """Return the area under the curve and its interval over recordings: their windows are drawn together."""
    item = labelled(data, backend)
    files, of = np.unique(item.names, return_inverse=True)
    faulty = np.array([item.anomaly[of == number][0] for number in range(len(files))])
    drawn = dataclasses.replace(
        item, names=tuple(files), scores=np.zeros(len(files)), anomaly=faulty, domains=np.full(len(files), "source")
    )
    weights = np.concatenate([np.ones((1, len(files))), resample(drawn, seed=0, draws=1000)])
    areas = roc_areas(item.scores, item.anomaly, ~item.anomaly, weights[:, of])[0]
    return told(float(areas[0]), percentiles(areas[1:]))


def told(value: float, interval: Interval) -> str:
    """Return a figure and its interval in percent."""
    return f"{100 * value:.1f} ({100 * interval.low:.0f}-{100 * interval.high:.0f})"


if __name__ == "__main__":
    main()

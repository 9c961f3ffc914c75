"""Commands of the references, replayed in a folder; each step keeps what it printed and the tables it wrote."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tests.golden.before.backends import unpack
from tests.golden.before.places import run

SHARED = ("data", "healthy", "more", "long", "new", "stereo", "landing", "models")
Step = dict[str, Any]


def words(*settings: str) -> list[str]:
    """Return settings as options, with the recordings of the data set."""
    return [word for setting in ("data.root=data", *settings) for word in ("--set", setting)]


def stage(*settings: str) -> Iterator[list[str]]:
    """Yield the commands of the three stages, and the decisions that can be made on their scores."""
    given = words(*settings)
    yield from (["preprocess", *given], ["train", *given], ["infer", *given])
    yield ["evaluate", "--results", "results"]
    for method in ("gamma", "quantile", "pooled", "transport"):
        yield ["decide", "--results", "results", "--far", "0.2", "--method", method]
    yield ["decide", "--results", "results", "--far", "0.2", "--method", "gamma", "--leave-out", "state"]


def own(
    folder: str, *settings: str, window: str = "2s", hop: str = "1s", weights: str = "", heard: str = "new"
) -> Iterator[list[str]]:
    """Yield a fit of a machine of your own and everything that only reads its bank."""
    given = [word for setting in settings for word in ("--set", setting)]
    yield ["fit", folder, "--machine", "pump", "--window", window, "--hop", hop, *given]
    yield from reading(weights, heard)


def reading(weights: str = "", heard: str = "new") -> Iterator[list[str]]:
    """Yield the commands that read the bank of a machine."""
    first, second = ("0.wav", "1.wav") if heard == "landing" else ("good.wav", "bad.wav")
    more = ["--weights", weights] if weights else []
    yield ["score", "banks/pump", heard, *more]
    yield [
        "score",
        "banks/pump",
        f"{heard}/{first}",
        f"{heard}/{second}",
        "--far",
        "0.2",
        "--out",
        "scores.jsonl",
        *more,
    ]
    yield ["bank", "info", "banks/pump", "--json", "--rows"]
    yield ["bank", "info", "banks/pump"]
    yield ["explain", "banks/pump", f"{heard}/{second}", "--json", *more]


def curating() -> Iterator[list[str]]:
    """Yield the commands that change the bank of a machine."""
    yield ["bank", "calibrate", "banks/pump", "--far", "0.1"]
    yield ["bank", "info", "banks/pump", "--json"]
    yield ["bank", "merge", "banks/pump", "banks/pump", "--out", "banks/first"]
    yield ["bank", "add", "banks/pump", "more"]
    yield ["score", "banks/pump", "new", "--out", "scores.csv"]
    yield ["bank", "diff", "banks/first", "banks/pump"]
    yield ["bank", "remove", "banks/pump", "fast/0*.wav"]
    yield ["bank", "info", "banks/pump", "--json"]
    yield ["bank", "undo", "banks/pump"]
    yield COMPACT
    yield ["bank", "info", "banks/pump", "--json"]
    yield ["bank", "diff", "banks/first", "banks/pump"]
    yield ["score", "banks/pump", "new", "--out", "scores.csv"]


LOGMEL = ("model.embedding=logmel_stats",)
SPECTRUM = ("model.embedding=spectrum", "scoring.backend=mahalanobis", "scoring.metric=euclidean")
BEATS = ("model.embedding=models/tiny.pt", "model.bands=true", "model.pooling=rdp_gem")
ONNX = ("model.embedding=onnx:models/toy.onnx",)
FUSION = "{members: 'knn@logmel_stats+mahalanobis@spectrum:metric=euclidean'}"
JOINED = ("model.embedding=logmel_stats+spectrum", "scoring.backend=min_fusion", f"scoring.params={FUSION}")
WEIGHTS = "models/soundnet.safetensors"  # random numbers (`places.unpinned`)
SOUNDNET = ("model.embedding=soundnet", f"weights.path={WEIGHTS}")
GRID = ["pooling=mean,max", "backend=knn,ldn,mahalanobis", "metric=cosine,euclidean", "k=1,2"]
WATCH = [
    "watch",
    "banks/pump",
    "landing",
    "--once",
    "--quiet",
    "--settle",
    "1ms",
    "--csv",
    "watch.csv",
    "--heartbeat",
    "0",
]
COMPACT = ["bank", "compact", "banks/pump", "--rows", "20"]
FAN = "data.machines=[fan]"

# Settings whose default is another one now, by command.
DECISION = {"decision.method": "gamma", "decision.leave_out": "clip"}
DEFAULTS = {"fit": {"scoring.backend": "knn"}, "train": DECISION, "infer": DECISION, "study": DECISION}

# name: (commands, how many of them make the stored bank)
DCASE = {
    "logmel": ([*stage(*LOGMEL)], 2),
    "spectrum": ([*stage(*SPECTRUM, FAN, "decision.method=quantile", "decision.false_alarm_rate=0.2")], 2),
    "beats": ([*stage(*BEATS, FAN, "scoring.backend=varmin", "scoring.params={K: 2}", "decision.method=transport")], 2),
    "joined": ([*stage(*JOINED, FAN, "model.k=2", "decision.method=pooled")], 2),
    "onnx": (
        [*stage(*ONNX, FAN, "scoring.backend=domain_z", "augmentation.enabled=true", "decision.leave_out=state")],
        2,
    ),
    "soundnet": ([*stage(*SOUNDNET, FAN, "decision.method=quantile", "decision.false_alarm_rate=0.2")], 2),
    "study": ([["study", *words(*ONNX, FAN), "--grid", *GRID]], 0),
}
OWN = {
    "pump": ([*own("healthy", *LOGMEL), *curating(), *reading()], 1),
    "compacted": ([next(own("healthy", *LOGMEL)), COMPACT, *reading(), ["bank", "calibrate", "banks/pump"]], 2),
    "beats": ([*own("healthy", *BEATS, "scoring.metric=euclidean", "model.k=2")], 1),
    "onnx": ([*own("healthy", *ONNX, "scoring.backend=ldn", "scoring.params={K: 2}")], 1),
    "joined": ([*own("healthy", *JOINED)], 1),
    "soundnet": ([*own("healthy", *SOUNDNET, weights=WEIGHTS)], 1),
    "stereo": ([*own("stereo", *ONNX, "data.channel=1", heard="landing"), WATCH], 1),
    "long": ([*own("long", *SPECTRUM, window="1s", hop="500ms")], 1),
}


def enter(base: Path, folder: Path) -> Path:
    """Make the folder of a scene, with the recordings and models of `base` in it."""
    folder.mkdir(parents=True)
    for name in SHARED:
        (folder / name).symlink_to(base / name)
    return folder


def play(folder: Path, commands: Iterable[list[str]]) -> Iterator[Step]:
    """Run commands one after the other; yield what each came to."""
    seen = tables(folder)
    for words in commands:
        said = run(folder, as_before(words))
        now = tables(folder)
        yield {
            "command": words,
            "code": said.code,
            "out": said.out,
            "err": said.err,
            "tables": {name: text for name, text in now.items() if seen.get(name) != text},
        }
        seen = now


def as_before(command: list[str]) -> list[str]:
    """Return a command with the defaults of the version before, where they are others now."""
    given = {word.partition("=")[0] for word in command}
    defaults = DEFAULTS.get(command[0], {}).items()
    added = [word for key, value in defaults if key not in given for word in ("--set", f"{key}={value}")]
    return [*command, *added]


def tables(folder: Path) -> dict[str, str]:
    """Return every table of a scene by its name."""
    files = [*folder.glob("*.csv"), *folder.glob("*.jsonl"), *(folder / "results").rglob("*.csv")]
    return {path.relative_to(folder).as_posix(): path.read_text() for path in sorted(files)}


def stored(here: Path, kind: str, name: str) -> tuple[list[Step], int]:
    """Return the steps of a stored scene, and how many of them made its stored bank."""
    steps = json.loads((here / f"{kind}_{name}.json").read_text())
    return steps, (DCASE if kind == "dcase" else OWN)[name][1]


def put_banks(here: Path, kind: str, name: str, folder: Path) -> None:
    """Put the stored banks of a scene where its commands look for them."""
    for path in (here / "banks").glob(f"{kind}_{name}*.xz"):
        stem = path.name.removesuffix(".safetensors.xz")
        machine = stem.removeprefix(f"{kind}_{name}").removeprefix("_") or "fan"
        target = f"results/banks/{machine}_section_00" if kind == "dcase" else "banks/pump/bank"
        unpack(here, stem, folder / f"{target}.safetensors")

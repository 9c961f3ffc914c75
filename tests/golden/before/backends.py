"""Every back-end on every stored bank: what was computed, and how it is computed today."""

import lzma
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from echobank.detection.backends import make_backend, parse_backend
from echobank.detection.bank import Bank, load_bank
from echobank.detection.decision import METHODS, calibrate, decide, p_values
from echobank.detection.states import state_scores, states_of
from echobank.errors import EchobankError

BANKS = (
    "odd",
    "dcase_logmel",
    "dcase_first",
    "dcase_beats",
    "dcase_joined",
    "dcase_onnx",
    "dcase_soundnet",
    "own_pump",
    "own_compacted",
)
METRICS = ("cosine", "euclidean")
PLAIN = (
    "knn:k=1",
    "knn:k=3",
    "kmeans:centres=4",
    "kmeans:centres=3:k=2:seed=1",
    "coreset:rows=10",
    "ldn",
    "ldn:form=difference:K=4",
    "ldn:form=log:K=2:k=2",
    "varmin",
    "varmin:form=log:K=2",
    "domain_ld:K_source=4:K_target=2",
    "domain_z",
    "domain_z:k=2",
    "domain_conformal",
    "mahalanobis",
    "mahalanobis:selective=false",
    "gmm:components=2",
    "pca",
    "pca:variance=0.5",
    "enlarged",
    "enlarged:method=smote",
    "enlarged:backend=mahalanobis",
)
SLOW = ("min_fusion", "min_fusion:members=(knn+domain_z:metric=euclidean:k=2)")
JOINED = (
    "knn@logmel_stats:k=2",
    "mahalanobis@spectrum",
    "ldn@spectrum:K=2",
    "min_fusion:members=(knn@logmel_stats+mahalanobis@spectrum:metric=euclidean)",
)
NO_STATES = ("min_fusion", "enlarged", "gmm", "kmeans")  # fitted once a state: slow, and others show the same
CALIBRATED = ("knn:k=1", "mahalanobis", "domain_z", "pca")
RATES = (0.1, 0.2)


def names(bank: str) -> tuple[str, ...]:
    """Return the back-ends that a stored bank is scored with."""
    return {"dcase_joined": PLAIN[:2] + JOINED, "dcase_soundnet": PLAIN[:12], "odd": PLAIN + SLOW}.get(
        bank, PLAIN + SLOW[:1]
    )


def make(text: str, metric: str) -> Any:
    """Return an unfitted back-end of `name:key=value`."""
    text, _, members = text.partition(":members=")  # these have colons of their own
    name, params = parse_backend(text)
    if members:
        params["members"] = members.strip("()")
    return make_backend(name, k=int(params.pop("k", 1)), metric=metric, params=params)


def arrays(bank: Bank, queries: np.ndarray, text: str, metric: str) -> dict[str, np.ndarray] | str:
    """Return scores, self_scores and state_scores of one back-end, or the kind of its error."""
    try:
        fitted = make(text, metric).fit(bank)
        found = {"scores": fitted.score(queries), "self": fitted.self_scores()}
        if not text.startswith(NO_STATES):
            found["states"] = state_scores(bank, lambda: make(text, metric))
        return found
    except EchobankError as error:
        return type(error).__name__


def thresholds(bank: Bank, found: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return the thresholds of every method, rate and kind of leaving out, with p-values and decisions of `scores`."""
    answers: dict[str, Any] = {"p": [float(p) for p in p_values(found["scores"], found["self"])]}
    for method in METHODS:
        for rate in RATES:
            for out in ("self", "states"):
                try:
                    states = states_of(bank) if out == "states" else None
                    got = calibrate(found[out], bank.domains, method, rate, states)
                except EchobankError as error:
                    answers[f"{method} {rate} {out}"] = type(error).__name__
                    continue
                answers[f"{method} {rate} {out}"] = {
                    "thresholds": [[t.domain, t.value, t.low, t.high, t.n, t.states, t.rate, t.method] for t in got],
                    "unknown": [int(d) for d in decide(found["scores"], None, got)],
                    "target": [int(d) for d in decide(found["scores"], ["target"] * len(found["scores"]), got)],
                }
    return answers


def open_bank(folder: Path, name: str) -> tuple[Bank, np.ndarray]:
    """Return a stored bank and its queries float32[Q, H, D]."""
    with np.load(folder / "queries.npz") as stored, tempfile.TemporaryDirectory() as temporary:
        return load_bank(unpack(folder, name, Path(temporary) / "bank.safetensors")), stored[name]


def unpack(folder: Path, name: str, target: Path) -> Path:
    """Write a stored bank as it was, and return where."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(lzma.decompress((folder / "banks" / f"{name}.safetensors.xz").read_bytes()))
    return target


def read_scores(folder: Path) -> dict[str, np.ndarray]:
    """Return every stored array by its name."""
    with np.load(folder / "scores.npz") as stored:
        parts = np.split(stored["values"], np.cumsum(stored["lengths"])[:-1])
        return dict(zip(stored["names"].tolist(), parts, strict=True))


def write_scores(folder: Path, scores: dict[str, np.ndarray]) -> None:
    """Write arrays so that `read_scores` returns them."""
    values, lengths = np.concatenate([*scores.values()]), [len(part) for part in scores.values()]
    np.savez_compressed(folder / "scores.npz", names=[*scores], values=values, lengths=lengths)

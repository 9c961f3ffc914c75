"""Nuisances: sounds that somebody has acknowledged. They are remembered, but never as healthy.

A nuisance lies in a file of its own beside the bank, so that nothing that fits, scores or calibrates can take it for a
healthy sound. A window is like a nuisance when it is nearer to it than to anything healthy, and either as near as
healthy recordings are to each other, or several times nearer than to anything healthy.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from echobank.errors import BankError
from echobank.models.encoder import Float32
from echobank.storage import write_bytes

_SAMPLE = 512  # rows from which the usual distance of healthy windows is taken
_QUANTILE = 0.99
_NEARER = 0.25  # share of the distance to the healthy windows; our own choice, a fault that doubles counts as changed
_KEY = "echobank"
SUFFIX, NUISANCES = ".nuisance", "nuisances"


@dataclass(frozen=True)
class Nuisance:
    """A sound that must not alarm.

    Attributes:
        name: What it is called.
        vectors: Embeddings of its windows, float32[N, H, D].
        made: Identity of what made the vectors.
        facts: What else is known, plain values.
    """

    name: str
    vectors: Float32
    made: Mapping[str, Any]
    facts: Mapping[str, Any] = field(default_factory=dict)


def save_nuisance(path: Path, nuisance: Nuisance) -> None:
    """Write a nuisance, whole or not at all.

    Raises:
        OutputError: The file cannot be written.
    """
    facts = json.dumps({"name": nuisance.name, "made": dict(nuisance.made), "facts": dict(nuisance.facts)})
    write_bytes(path, save({"vectors": np.ascontiguousarray(nuisance.vectors)}, {_KEY: facts}))


def load_nuisance(path: Path, made: Mapping[str, Any] | None = None) -> Nuisance:
    """Return a nuisance.

    Args:
        path: The file.
        made: Identity of what makes the vectors that it is compared with; None compares nothing.

    Raises:
        BankError: Damaged, or made by another encoder.
    """
    try:
        with safe_open(path, "numpy") as stream:
            header = json.loads((stream.metadata() or {})[_KEY])
            vectors = stream.get_tensor("vectors")
        nuisance = Nuisance(str(header["name"]), vectors.astype(np.float32), header["made"], header["facts"])
    except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise BankError("not a nuisance, or a damaged one", where=path) from error
    if made is not None and dict(nuisance.made) != dict(made):
        raise BankError("a nuisance of another encoder or other windows", where=path, hint="add it again")
    return nuisance


def usual_distance(vectors: Float32, groups: NDArray[np.int64]) -> float:
    """Return how far a healthy window is at most from the nearest of another recording, except for one in a hundred.

    Args:
        vectors: Rows of the bank, float32[N, H, D].
        groups: Number of the recording of each row, int64[N].
    """
    rows = np.linspace(0, len(vectors) - 1, min(len(vectors), _SAMPLE)).astype(int)
    distances = _distances(np.asarray(vectors[rows]), vectors)
    distances[groups[rows][:, None] == groups[None, :]] = np.inf
    nearest = distances.min(axis=1)
    return float(np.quantile(nearest, _QUANTILE)) if np.isfinite(nearest).all() else 0.0


def matches(vectors: Float32, nuisances: Sequence[Nuisance], healthy: Float32, radius: float) -> list[str]:
    """Return the name of the nuisance that each window is like, empty for none.

    Args:
        vectors: Windows, float32[Q, H, D].
        nuisances: What is acknowledged.
        healthy: Rows of the bank, float32[N, H, D].
        radius: As `usual_distance`.
    """
    if not nuisances or not len(vectors):
        return [""] * len(vectors)
    nearest = np.stack([_distances(vectors, nuisance.vectors).min(axis=1) for nuisance in nuisances])
    best, least = nearest.argmin(axis=0), nearest.min(axis=0)
    to_healthy = _distances(vectors, healthy).min(axis=1)
    like = (least < to_healthy) & ((least <= radius) | (least <= _NEARER * to_healthy))
    return [nuisances[best[i]].name if like[i] else "" for i in range(len(vectors))]


def _distances(queries: Float32, rows: Float32) -> NDArray[np.float64]:
    """Return cosine distances, mean over bands, float64[Q, N]."""
    products: NDArray[np.float64] = np.einsum("qhd,nhd->qn", _unit(queries), _unit(rows), optimize=True)
    return np.asarray(1.0 - products / rows.shape[1])


def _unit(vectors: Float32) -> NDArray[np.float64]:
    wide = np.asarray(vectors, dtype=np.float64)
    return np.asarray(wide / np.maximum(np.linalg.norm(wide, axis=2, keepdims=True), 1e-12))

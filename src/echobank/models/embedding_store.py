"""Pooled embeddings on disk, so that a second run over the same recordings embeds nothing."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from echobank.models.encoder import Encoder, Float32
from echobank.models.pooling import Pooling
from echobank.storage import atomic_path


class EmbeddingStore:
    """Pooled embeddings on disk, one small file a clip: safe to kill at any moment, checked when read."""

    def __init__(self, folder: Path | str, made_by: dict[str, Any]) -> None:
        text = json.dumps(made_by, sort_keys=True, default=str)
        self._folder = Path(folder) / "embeddings" / hashlib.sha256(text.encode()).hexdigest()[:16]

    def get(self, identity: str) -> Float32 | None:
        """Return the embedding float32[H, D] of a clip, or None when it is absent or damaged."""
        try:
            vector = np.load(self._path(identity), allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        good = isinstance(vector, np.ndarray) and vector.dtype == np.float32 and vector.ndim == 2
        return vector if good and bool(np.isfinite(vector).all()) else None

    def put(self, identity: str, vector: Float32) -> None:
        """Keep an embedding.

        Raises:
            OutputError: The file cannot be written.
        """
        with atomic_path(self._path(identity), durable=False) as temporary, temporary.open("wb") as stream:
            np.save(stream, vector, allow_pickle=False)

    def _path(self, identity: str) -> Path:
        return self._folder / identity[:2] / f"{identity}.npy"


def store_facts(encoder: Encoder, pooling: Pooling, layer: int | None) -> dict[str, Any]:
    """Return everything that an embedding depends on besides the clip."""
    return {"encoder": asdict(encoder.facts), "pooling": asdict(pooling), "layer": layer}

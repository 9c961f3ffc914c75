"""Pooled embeddings on disk, so that a second run over the same recordings embeds nothing."""

from pathlib import Path

import numpy as np

from echobank.models.encoder import Float32
from echobank.models.provenance import Provenance
from echobank.storage import atomic_path


class EmbeddingStore:
    """Pooled embeddings on disk, one small file per clip: safe to kill at any moment, checked when read."""

    def __init__(self, folder: Path | str, provenance: Provenance) -> None:
        self._folder = Path(folder) / "embeddings" / provenance.cache_key

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

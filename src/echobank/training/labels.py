"""Labels to learn from: machine, attributes and domain of normal clips; k-means where attributes are hidden."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echobank.data.dcase import Recording
from echobank.errors import InputError

PSEUDO = "cluster"


@dataclass(frozen=True)
class Labels:
    """A label per clip.

    Attributes:
        names: Name of each label, sorted.
        of: Label of each clip, int64[N].
    """

    names: tuple[str, ...]
    of: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.names)


def label_clips(
    recordings: Sequence[Recording],
    vectors: NDArray[np.float32] | None,
    *,
    source_clusters: int = 7,
    target_clusters: int = 1,
    seed: int = 0,
) -> Labels:
    """Return a label for each normal training clip.

    A machine whose clips carry attributes is labelled machine x attributes x domain. One whose attributes are hidden
    is labelled by k-means on its frozen embeddings, one domain at a time.

    Args:
        recordings: N clips.
        vectors: Frozen embeddings of them, float32[N, D]; None when every machine has attributes.
        source_clusters: Clusters of a machine's source clips.
        target_clusters: Clusters of a machine's target clips.
        seed: Of k-means.

    Raises:
        InputError: There are fewer than two labels, so that there is nothing to tell apart.
    """
    places = [f"{r.machine}_section_{r.section}" for r in recordings]
    described = {place for place, r in zip(places, recordings, strict=True) if r.attributes}
    words = [_words(r, place, place in described) for r, place in zip(recordings, places, strict=True)]
    for place in sorted(set(places) - described):
        for domain, clusters in (("source", source_clusters), ("target", target_clusters)):
            chosen = [i for i, word in enumerate(words) if word == f"{place} {domain} {PSEUDO}"]
            if chosen and vectors is not None:
                for i, number in zip(chosen, _cluster(vectors[chosen], clusters, seed), strict=True):
                    words[i] += f" {number}"
    names, of = np.unique(words, return_inverse=True)
    if len(names) < 2:
        raise InputError(
            "fine-tuning needs at least two labels of normal clips to tell apart, and there is one",
            value=str(names[0]) if len(names) else "no clips",
            hint="add machines, attributes or a second domain, or raise finetune.source_clusters",
        )
    return Labels(tuple(str(name) for name in names), of.astype(np.int64))


def hidden(recordings: Sequence[Recording]) -> bool:
    """Return whether a machine has no attributes at all, so that labels need frozen embeddings."""
    places = {(r.machine, r.section) for r in recordings}
    return bool(places - {(r.machine, r.section) for r in recordings if r.attributes})


def _words(recording: Recording, place: str, described: bool) -> str:
    domain = "target" if recording.domain == "target" else "source"
    if not described:
        return f"{place} {domain} {PSEUDO}"
    pairs = " ".join(f"{name}={value}" for name, value in recording.attributes)
    return f"{place} {domain} {pairs or 'noAttribute'}"


def _cluster(vectors: NDArray[np.float32], clusters: int, seed: int) -> NDArray[np.int64]:
    from sklearn.cluster import KMeans

    distinct = len(np.unique(vectors, axis=0))
    scaled = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    model = KMeans(min(clusters, distinct), n_init=4, random_state=seed)
    numbers: NDArray[np.int64] = model.fit_predict(scaled.astype(np.float64))
    return numbers

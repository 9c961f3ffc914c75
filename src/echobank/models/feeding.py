"""Feeding: from sources of sound to embeddings, in parallel, in batches across sources, in the order asked for.

Clips of the challenge and windows of own recordings go the same way. An `EmbeddingStore` keeps each embedding by
content and by everything that made it, so a second run embeds nothing.
"""

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from echobank.models.courses import Outputs
from echobank.models.embedding_store import EmbeddingStore
from echobank.models.encoder import Encoder, Feature, Float32, SpectrogramEncoder, hears_source, waveform_of
from echobank.models.pooling import Pooling, pool
from echobank.models.scheduler import Job, Scheduler
from echobank.models.sources import Feedable, Piece, Source
from echobank.progress import Progress, silent

__all__ = [
    "Embedded",
    "Embedder",
    "Fed",
    "Feedable",
    "Outputs",
    "Piece",
    "Skipped",
    "Source",
    "clips_a_batch",
    "embed",
    "embed_each",
    "embed_features",
    "feed",
]


@runtime_checkable
class Embedder(Protocol):
    """An encoder with a way of its own from features to embeddings."""

    def embed(
        self, features: Sequence[Any], poolings: Sequence[Pooling], layer: int | None = None
    ) -> list[list[Float32]]:
        """Return the embedding float32[H, D] of each clip by each pooling.

        Args:
            features: Waveforms or log-mel as `embed_features`; with their source where the encoder hears the source.
            poolings: Ways from tokens to an embedding.
            layer: Layer of the encoder, from 1; None is the last.
        """
        ...


@dataclass(frozen=True)
class Skipped:
    """A recording that was left out, or several of a kind, and the one line that says why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Fed:
    """What came of one source.

    Attributes:
        position: Its place among the sources.
        name: As `Source`.
        facts: Facts of its pieces, in order; empty when it cannot be used.
        outputs: The result of each piece: float32 arrays, in the order of the stores.
        error: Why it cannot be used; empty when it can.
    """

    position: int
    name: str
    facts: tuple[Any, ...]
    outputs: tuple[Outputs, ...]
    error: str = ""


@dataclass(frozen=True)
class Embedded:
    """Embeddings of the clips that could be used.

    Attributes:
        vectors: float32[N, H, D], in the order of `kept`.
        kept: Positions of the clips in the list asked for, int64[N], ascending.
        skipped: The others.
        from_store: How many came from the store.
    """

    vectors: Float32
    kept: NDArray[np.int64]
    skipped: tuple[Skipped, ...]
    from_store: int


def embed_features(
    features: Sequence[Feature], encoder: Encoder, poolings: Sequence[Pooling], layer: int | None = None
) -> list[list[Float32]]:
    """Return the embedding float32[H, D] of each clip by each pooling.

    Args:
        features: Waveforms float32[T], with or without their source, or log-mel float32[F, M] where the encoder has a
            cacheable front end.
        encoder: What makes tokens.
        poolings: Ways from tokens to an embedding.
        layer: Layer of the encoder, from 1; None is the last.
    """
    if isinstance(encoder, Embedder):
        return encoder.embed(features if hears_source(encoder) else [*map(waveform_of, features)], poolings, layer)
    tokens = tokens_of(features, encoder, layer)
    return [[pool(grid, pooling) for pooling in poolings] for grid in tokens]


def tokens_of(features: Sequence[Feature], encoder: Encoder, layer: int | None = None) -> list[Float32]:
    """Return tokens float32[Pt, Pf, D] of each clip; arguments as `embed_features`."""
    if hears_source(encoder):
        return encoder.tokens(features, layer)
    plain = [waveform_of(feature) for feature in features]
    if plain[0].ndim == 2 and isinstance(encoder, SpectrogramEncoder):
        return encoder.tokens_from_logmel(plain, layer)
    return encoder.tokens(plain, layer)


def feed(
    sources: Iterable[Feedable],
    embed_batch: Callable[[Sequence[Feature]], list[Outputs]],
    stores: Sequence[EmbeddingStore | None],
    encoder: Encoder,
    *,
    batch_size: int = 0,
    workers: int = 0,
) -> Generator[Fed, None, None]:
    """Yield what comes of each source, in order; sources are read some batches ahead.

    A source that cannot be read or embedded, for whatever reason, says why, and the others are still processed. Memory
    is bounded whatever the number and length of the sources, except for the outputs of sources under way.

    Args:
        sources: Clips or recordings.
        embed_batch: Features of pieces of one length to the outputs of each: one float32 array per store. Called in
            worker threads, on a processor in several at once.
        stores: Where the outputs are kept; a piece is embedded unless every store has it. None keeps nothing.
        encoder: What `embed_batch` runs; says where and how.
        batch_size: Pieces per batch; 0 takes what suits where the encoder runs.
        workers: Threads; 0 takes one per core.

    Raises:
        OutputError: A store cannot be written.
        ConfigError: From `embed_batch`: a setting that the encoder does not have.
    """
    kept = [store for store in stores if store is not None]

    def recall(identity: str) -> Outputs | None:
        found = [store.get(identity) for store in kept] if identity else []
        known = [output for output in found if output is not None]
        return known if known and len(known) == len(stores) else None

    def keep(identity: str, outputs: Outputs) -> None:
        for store, output in zip(stores, outputs, strict=True):
            if store is not None:
                store.put(identity, output)

    job = Job(
        embed_batch,
        recall,
        keep,
        batch_size=clips_a_batch(batch_size, encoder),
        at_once=1 if _on_gpu(encoder) else 0,
        threads=workers,
        alone=encoder.facts.engine == "torch",  # numpy gains nothing from more threads inside its small products
    )
    with closing(Scheduler(job).run(sources)) as courses:
        for course in courses:
            outputs = () if course.error else tuple(output for output in course.outputs if output is not None)
            facts = () if course.error else tuple(course.facts)
            yield Fed(course.position, course.source.name, facts, outputs, course.error)


def embed(
    sources: Sequence[Source],
    encoder: Encoder,
    pooling: Pooling,
    *,
    layer: int | None = None,
    batch_size: int = 0,
    workers: int = 0,
    store: EmbeddingStore | None = None,
    progress: Progress = silent,
    label: str = "embed",
) -> Embedded:
    """Embed recordings; the result does not depend on batch size (beyond 1e-5), worker count or timing.

    Args:
        sources: The clips, in the order wanted.
        encoder: What makes tokens.
        pooling: Tokens to an embedding.
        layer: Layer of the encoder, from 1; None is the last.
        batch_size: Clips per batch; 0 takes what suits where the encoder runs.
        workers: Worker threads; 0 takes one per core.
        store: Where embeddings are kept; None keeps nothing.
        progress: Shows how far it is.
        label: Name of the bar.

    Raises:
        OutputError: The store cannot be written.
    """
    (embedded,) = embed_each(
        sources,
        encoder,
        [pooling],
        [store],
        layer=layer,
        batch_size=batch_size,
        workers=workers,
        progress=progress,
        label=label,
    )
    return embedded


def embed_each(
    sources: Sequence[Source],
    encoder: Encoder,
    poolings: Sequence[Pooling],
    stores: Sequence[EmbeddingStore | None],
    *,
    layer: int | None = None,
    batch_size: int = 0,
    workers: int = 0,
    progress: Progress = silent,
    label: str = "embed",
) -> list[Embedded]:
    """Embed recordings by several poolings in one pass: each clip goes through the encoder once at most.

    Args:
        sources: The clips, in the order wanted.
        encoder: What makes tokens.
        poolings: Ways from tokens to an embedding.
        stores: Where the embeddings of each pooling are kept; None keeps nothing.
        layer: As `embed`.
        batch_size: As `embed`.
        workers: As `embed`.
        progress: As `embed`.
        label: As `embed`.

    Returns:
        What `embed` returns, one per pooling.

    Raises:
        OutputError: A store cannot be written.
    """
    vectors = [_stored(sources, store) for store in stores]
    found = [len(known) for known in vectors]
    skipped: list[Skipped] = []
    waiting = [i for i in range(len(sources)) if any(i not in known for known in vectors)]
    work = partial(embed_features, encoder=encoder, poolings=poolings, layer=layer)
    asked = (sources[i] for i in waiting)
    with closing(feed(asked, work, stores, encoder, batch_size=batch_size, workers=workers)) as stream:
        for position, fed in progress(zip(waiting, stream, strict=True), total=len(waiting), label=label):
            if fed.error:
                skipped.append(Skipped(fed.name, fed.error))
            for known, number in zip(vectors, range(len(poolings)), strict=True):
                if fed.error:
                    known.pop(position, None)
                elif position not in known:
                    known[position] = fed.outputs[0][number]
    return [_embedded(known, skipped, count) for known, count in zip(vectors, found, strict=True)]


def _stored(sources: Sequence[Source], store: EmbeddingStore | None) -> dict[int, Float32]:
    known = {i: store.get(source.identity) for i, source in enumerate(sources) if store and source.identity}
    return {i: vector for i, vector in known.items() if vector is not None}


def _embedded(vectors: dict[int, Float32], skipped: Sequence[Skipped], found: int) -> Embedded:
    kept = np.array(sorted(vectors), dtype=np.int64)
    stacked = np.stack([vectors[i] for i in kept]) if len(kept) else np.zeros((0, 1, 1), np.float32)
    return Embedded(stacked, kept, tuple(skipped), found)


def clips_a_batch(batch_size: int, encoder: Encoder) -> int:
    """Return the number of clips that 0 or a number asks for: 0 is 64 on a GPU and 8 elsewhere."""
    return batch_size or (64 if _on_gpu(encoder) else 8)


def _on_gpu(encoder: Encoder) -> bool:
    device = getattr(encoder, "device", None)
    return device is not None and bool(device.type == "cuda")

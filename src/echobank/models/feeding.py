"""Feeding: many recordings to one array of embeddings, in parallel, resumable, in the order asked for.

Reader threads hash, decode and compute log-mel; the encoder takes batches of equal length. An `EmbeddingStore` keeps
each embedding by content and by everything that made it, so a second run embeds nothing.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from echobank.cores import core_count
from echobank.errors import AudioError
from echobank.models.embedding_store import EmbeddingStore
from echobank.models.encoder import Encoder, Float32
from echobank.models.pooling import Pooling, pool
from echobank.progress import Progress, silent

_Heard = tuple[int, str, Float32]  # position among the sources, identity, features

_LOOKAHEAD = 4  # batches kept ready for the encoder; bounds memory whatever the number of recordings


@runtime_checkable
class Embedder(Protocol):
    """An encoder with a way of its own from features to embeddings."""

    def embed(
        self, features: Sequence[Float32], poolings: Sequence[Pooling], layer: int | None = None
    ) -> list[list[Float32]]:
        """Return the embedding float32[H, D] of each clip by each pooling."""
        ...


@dataclass(frozen=True)
class Skipped:
    """A recording that was left out, or several of a kind, and the one line that says why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Source:
    """One clip to embed.

    Attributes:
        name: How the clip is called in messages.
        identity: Hash of its content and of every change made to it; the key of the store. Empty when it is
            only known after reading; then `read` is called before the store is asked.
        read: Returns (identity, features): the waveform float32[T], or log-mel float32[F, M] where the encoder has a
            cacheable front end. Runs in a reader thread.

    Raises:
        AudioError: From `read`, for a recording that cannot be used.
    """

    name: str
    identity: str
    read: Callable[[], tuple[str, Float32]]


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
    features: Sequence[Float32], encoder: Encoder, poolings: Sequence[Pooling], layer: int | None = None
) -> list[list[Float32]]:
    """Return the embedding float32[H, D] of each clip by each pooling.

    Args:
        features: Waveforms float32[T], or log-mel float32[F, M] where the encoder has a cacheable front end.
        encoder: What makes tokens.
        poolings: Ways from tokens to an embedding.
        layer: Layer of the encoder, from 1; None is the last.
    """
    if isinstance(encoder, Embedder):
        return encoder.embed(features, poolings, layer)
    tokens = (encoder.tokens_from_logmel if features[0].ndim == 2 else encoder.tokens)(features, layer)
    return [[pool(grid, pooling) for pooling in poolings] for grid in tokens]


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
        batch_size: Clips a batch; 0 takes what suits where the encoder runs.
        workers: Reader threads; 0 takes one a core.
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
        What `embed` returns, one a pooling.

    Raises:
        OutputError: A store cannot be written.
    """
    vectors = [_stored(sources, store) for store in stores]
    found = [len(known) for known in vectors]
    skipped: list[Skipped] = []
    waiting = [i for i in range(len(sources)) if any(i not in known for known in vectors)]
    batch_size = clips_a_batch(batch_size, encoder)
    reader = _read_ahead([sources[i] for i in waiting], workers, _LOOKAHEAD * batch_size)

    def heard() -> Iterator[_Heard]:
        steps = zip(waiting, reader, strict=True)
        for position, outcome in progress(steps, total=len(waiting), label=label):
            if isinstance(outcome, AudioError):
                skipped.append(Skipped(sources[position].name, str(outcome)))
                for known in vectors:
                    known.pop(position, None)
            else:
                yield position, *outcome

    for batch in _equal_lengths(heard(), batch_size, _LOOKAHEAD * batch_size):
        pooled = embed_features([features for _, _, features in batch], encoder, poolings, layer)
        for (position, identity, _), clip in zip(batch, pooled, strict=True):
            for known, vector, store in zip(vectors, clip, stores, strict=True):
                if position not in known:
                    known[position] = vector
                    if store:
                        store.put(identity, vector)
    return [_embedded(known, skipped, count) for known, count in zip(vectors, found, strict=True)]


def _equal_lengths(clips: Iterable[_Heard], size: int, most: int) -> Iterator[list[_Heard]]:
    """Yield batches of up to `size` clips of one length; at most `most` clips wait for others of theirs."""
    waiting: dict[int, list[_Heard]] = {}
    for clip in clips:
        length = len(clip[2])
        waiting.setdefault(length, []).append(clip)
        if len(waiting[length]) == size:
            yield waiting.pop(length)
        elif sum(map(len, waiting.values())) >= most:
            yield waiting.pop(next(iter(waiting)))  # the length that has waited longest
    yield from waiting.values()


def _stored(sources: Sequence[Source], store: EmbeddingStore | None) -> dict[int, Float32]:
    known = {i: store.get(source.identity) for i, source in enumerate(sources) if store and source.identity}
    return {i: vector for i, vector in known.items() if vector is not None}


def _embedded(vectors: dict[int, Float32], skipped: Sequence[Skipped], found: int) -> Embedded:
    kept = np.array(sorted(vectors), dtype=np.int64)
    stacked = np.stack([vectors[i] for i in kept]) if len(kept) else np.zeros((0, 1, 1), np.float32)
    return Embedded(stacked, kept, tuple(skipped), found)


def clips_a_batch(batch_size: int, encoder: Encoder) -> int:
    """Return the number of clips that 0 or a number asks for: 0 is 64 on a GPU and 8 elsewhere."""
    device = getattr(encoder, "device", None)
    return batch_size or (64 if device is not None and device.type == "cuda" else 8)


def reader_count(workers: int) -> int:
    """Return the number of reader threads that 0 ("one a core") or a number asks for."""
    return workers or core_count()


def _read_ahead(sources: Sequence[Source], workers: int, depth: int) -> Iterator[tuple[str, Float32] | AudioError]:
    """Yield what each source reads, in order, at most `depth` ahead of the consumer."""
    pending: deque[Future[tuple[str, Float32]]] = deque()
    pool_of_readers = ThreadPoolExecutor(reader_count(workers), thread_name_prefix="echobank-reader")
    try:
        for source in sources:
            pending.append(pool_of_readers.submit(source.read))
            if len(pending) >= depth:
                yield _outcome(pending.popleft())
        while pending:
            yield _outcome(pending.popleft())
    finally:
        pool_of_readers.shutdown(wait=False, cancel_futures=True)


def _outcome(future: "Future[tuple[str, Float32]]") -> tuple[str, Float32] | AudioError:
    try:
        return future.result()
    except AudioError as error:
        return error

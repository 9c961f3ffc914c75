"""BEATs as an encoder: clips of any mix of lengths to tokens, on CPU or GPU, in fp32 or bf16.

Clips of equal length share a batch and nothing is padded, since padding would change the tokens. A spectrogram of
more than 192 patches in time (30.7 s) is encoded in consecutive pieces of nearly equal length, so that attention,
which grows with the square of the length, stays bounded.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from echobank.errors import AudioError, ConfigError, WeightsError
from echobank.models.beats.adapter import load_adapter, merge
from echobank.models.beats.checkpoint import read_checkpoint
from echobank.models.beats.model import Beats, build
from echobank.models.device import pick_device, pick_precision
from echobank.models.encoder import EncoderFacts, Float32
from echobank.models.logmel import (
    FRAME,
    HOP,
    KALDI_128,
    MELS,
    SAMPLE_RATE,
    audible,
    band_edges_hz,
    logmel_tensor,
    logmel_torch,
)
from echobank.models.pooling import Pooling, pool, pool_together
from echobank.models.weights.cards import CARDS, Card

LONGEST = 192  # patches in time that are encoded as one
_TOKENS_CPU = 8 * 496  # tokens per batch: eight clips of 10 s
_TOKENS_CUDA = 64 * 496

Piece = tuple[int, int, int]  # clip, first patch, patch after the last


class BeatsEncoder:
    """BEATs with the weights of one checkpoint; an `encoder.Encoder`.

    Attributes:
        model: The model, on `device`.
        device: Where it runs.
        source: Card or file that the weights come from.
        facts: What made the tokens.
    """

    def __init__(
        self,
        model: Beats,
        sha256: str,
        source: str,
        device: str = "cpu",
        precision: str = "fp32",
        compile: bool = False,
    ) -> None:
        self.device = pick_device(device)
        self.source = source
        chosen = pick_precision(precision, self.device)
        processor = self.device.type == "cpu"
        self.model: Beats = model.prepare(chosen, processor=processor, compiled=compile).to(self.device)
        size = model.config
        self.facts = EncoderFacts(
            name=source,
            weights_sha256=sha256,
            sample_rate=SAMPLE_RATE,
            front_end=KALDI_128,
            dimension=size.dimension,
            bands=MELS // size.patch,
            layers=size.layers,
            precision=chosen,
            token_seconds=size.patch * HOP / SAMPLE_RATE,
        )

    @property
    def band_edges_hz(self) -> NDArray[np.float64]:
        """Lower and upper edge of each band of patches, float64[bands, 2], Hz."""
        return band_edges_hz(self.facts.bands)

    def logmel(self, waveform: Float32) -> Float32:
        """Return log-mel before normalisation, float32[F, 128], of float32[T]; see `logmel.logmel` for short clips.

        Raises:
            AudioError: No samples, or one that is not finite.
        """
        return logmel_torch(waveform)

    def tokens(self, waveforms: Sequence[Float32], layer: int | None = None) -> list[Float32]:
        """Return float32[Pt, Pf, D] for each waveform float32[T]; `layer` counts from 1, None is the last.

        Raises:
            AudioError: A waveform without samples, or with one that is not finite.
            ConfigError: No such layer.
        """
        return self._encode(self._heard(waveforms), self._check_layers((layer,)))[0]

    def tokens_from_logmel(self, logmels: Sequence[Float32], layer: int | None = None) -> list[Float32]:
        """Return float32[Pt, Pf, D] for each log-mel float32[F, 128], Pt = F // 16.

        Raises:
            AudioError: A spectrogram below 16 frames, or with a value that is not finite.
            ConfigError: No such layer.
        """
        return self.layers_from_logmel(logmels, (layer,))[0]

    def layers_from_logmel(self, logmels: Sequence[Float32], layers: Sequence[int | None]) -> tuple[list[Float32], ...]:
        """Return `tokens_from_logmel` of several layers for the price of the deepest, in the order asked for."""
        return self._encode(self._checked(logmels), self._check_layers(layers))

    def embed(
        self, features: Sequence[Float32], poolings: Sequence[Pooling], layer: int | None = None
    ) -> list[list[Float32]]:
        """Return the embedding float32[H, D] of each clip by each pooling, from waveforms or log-mel.

        Tokens are pooled where they are: from a GPU a clip comes back as some kilobytes, not as megabytes.

        Raises:
            AudioError: As `tokens` and `tokens_from_logmel`.
            ConfigError: No such layer.
        """
        wanted = self._check_layers((layer,))
        heard = self._checked(features) if features[0].ndim == 2 else self._heard(features)
        if max(map(self._patches, heard)) > LONGEST:  # the pieces of a clip are pooled as one
            return [[pool(grid, pooling) for pooling in poolings] for grid in self._encode(heard, wanted)[0]]
        return self._pooled(heard, poolings, wanted)

    def probabilities(self, waveforms: Sequence[Float32]) -> list[Float32]:
        """Return the class probabilities float32[classes] of each waveform, for a fine-tuned checkpoint.

        Raises:
            WeightsError: The checkpoint is not fine-tuned.
        """
        if not self.model.config.classes:
            raise WeightsError(
                "these weights have no classes", value=self.source, hint="use a *_finetuned_* checkpoint"
            )
        with torch.inference_mode():
            flat = (torch.from_numpy(grid.reshape(1, -1, grid.shape[-1])) for grid in self.tokens(waveforms))
            return [self.model.probabilities(grid.to(self.device))[0].cpu().numpy() for grid in flat]

    def _heard(self, waveforms: Sequence[Float32]) -> list[Tensor]:
        """Return what `_run` takes: log-mel on a processor, the samples themselves for a GPU."""
        if self.device.type == "cpu":
            return [torch.from_numpy(logmel_torch(waveform)) for waveform in waveforms]
        return [torch.from_numpy(audible(waveform)) for waveform in waveforms]

    def _checked(self, logmels: Sequence[Float32]) -> list[Tensor]:
        side = self.model.config.patch
        for spectrogram in map(np.asarray, logmels):
            if spectrogram.ndim != 2 or spectrogram.shape[1] != MELS or len(spectrogram) < side:
                raise AudioError(f"log-mel must be [{side} frames or more, {MELS}]", value=spectrogram.shape)
            if not np.isfinite(spectrogram).all():
                raise AudioError("log-mel with values that are not finite")
        return [torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32)) for x in logmels]

    def _patches(self, features: Tensor) -> int:
        """Return the patches in time of a log-mel [F, 128] or of samples [T]."""
        frames = len(features) if features.ndim == 2 else 1 + (len(features) - FRAME) // HOP
        return frames // self.model.config.patch

    def _run(self, features: Sequence[Tensor], layers: Sequence[int]) -> Iterator[tuple[list[Piece], list[Tensor]]]:
        """Yield batches of pieces of clips, and the tokens float32[B, Pt, Pf, D] of each layer, on the device."""
        side, bands = self.model.config.patch, self.facts.bands
        limit = (_TOKENS_CPU if self.device.type == "cpu" else _TOKENS_CUDA) // bands
        with torch.inference_mode():
            for pieces in _batches([self._patches(clip) for clip in features], limit):
                batch = torch.stack([_cut(features[clip], side * start, side * stop) for clip, start, stop in pieces])
                if batch.device != self.device:
                    batch = batch.pin_memory().to(self.device, non_blocking=True)
                grids = self.model(logmel_tensor(batch) if batch.ndim == 2 else batch, layers)
                yield pieces, [grid.unflatten(1, (-1, bands)) for grid in grids]

    def _encode(self, features: Sequence[Tensor], layers: Sequence[int]) -> tuple[list[Float32], ...]:
        shape = self.facts.bands, self.facts.dimension
        results = tuple([np.empty((self._patches(clip), *shape), np.float32) for clip in features] for _ in layers)
        for pieces, grids in self._run(features, layers):
            for result, tokens in zip(results, grids, strict=True):
                for (clip, start, stop), grid in zip(pieces, tokens.cpu().numpy(), strict=True):
                    result[clip][start:stop] = grid
        return results

    def _pooled(
        self, features: Sequence[Tensor], poolings: Sequence[Pooling], layers: Sequence[int]
    ) -> list[list[Float32]]:
        """Return the embeddings of clips of one piece each; all batches are under way before the first is fetched."""
        under_way = []
        for pieces, (tokens,) in self._run(features, layers):
            size = 1 if tokens.device.type == "cpu" else len(tokens)  # no sum depends on the neighbours
            shares = torch.split(tokens, size)
            pooled = [torch.cat([pool_together(share, p) for share in shares]) for p in poolings]
            under_way.append(([clip for clip, _, _ in pieces], pooled))
        results: list[list[Float32]] = [[] for _ in features]
        for clips, pooled in under_way:
            for vectors in pooled:
                for clip, vector in zip(clips, vectors.cpu().numpy(), strict=True):
                    results[clip].append(vector)
        return results

    def _check_layers(self, layers: Sequence[int | None]) -> tuple[int, ...]:
        last = self.facts.layers
        for layer in layers:
            if layer is not None and not 1 <= layer <= last:
                raise ConfigError("no such layer", value=layer, hint=f"layers of {self.source} are 1 to {last}")
        return tuple(last if layer is None else layer for layer in layers)


def load(
    card: Card | None,
    path: Path | None,
    device: str,
    precision: str,
    compile: bool,
    adapter: Path | None = None,
) -> BeatsEncoder:
    """Return the encoder of a checkpoint file; a file that is an official one is called by its card.

    Raises:
        WeightsError: The file is missing, damaged or of another architecture, or the adapter is of other weights.
        ConfigError: Unknown or absent device, unknown precision.
    """
    if path is None:
        raise WeightsError("no weights file", hint="give one")
    checkpoint = read_checkpoint(path)
    if card is None:
        card = next((known for known in CARDS.values() if known.sha256 == checkpoint.sha256), None)
    source = card.name if card else path.name
    if adapter is not None:
        checkpoint = merge(checkpoint, load_adapter(adapter), adapter)
        source = f"{source}+{adapter.stem}"
    model, sha256 = build(checkpoint.config, checkpoint.state), checkpoint.sha256
    del checkpoint  # so that what `prepare` replaces is given back at once
    return BeatsEncoder(model, sha256, source, device, precision, compile)


def _cut(features: Tensor, start: int, stop: int) -> Tensor:
    """Return frames start to stop of a log-mel [F, 128], or the samples [T] that they are made of."""
    return features[start:stop] if features.ndim == 2 else features[HOP * start : HOP * (stop - 1) + FRAME]


def _batches(patches: Sequence[int], limit: int) -> Iterator[list[Piece]]:
    """Yield batches of pieces of equal length.

    Args:
        patches: Patches in time of each clip.
        limit: Patches in time per batch.
    """
    by_length: dict[int, list[Piece]] = {}
    for clip, total in enumerate(patches):
        count = -(-total // LONGEST)
        edges = [total * i // count for i in range(count + 1)]
        for start, stop in pairwise(edges):
            by_length.setdefault(stop - start, []).append((clip, start, stop))
    for length, pieces in sorted(by_length.items()):
        size = max(1, limit // length)
        for first in range(0, len(pieces), size):
            yield pieces[first : first + size]

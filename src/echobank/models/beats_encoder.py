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
from echobank.models.adapter import load_adapter, merge
from echobank.models.beats import Beats, build
from echobank.models.cards import CARDS, Card
from echobank.models.checkpoint import read_checkpoint
from echobank.models.device import pick_device, pick_precision
from echobank.models.encoder import EncoderFacts, Float32
from echobank.models.logmel import HOP, KALDI_128, MELS, SAMPLE_RATE, audible, band_edges_hz, logmel, logmel_tensor

LONGEST = 192  # patches in time that are encoded as one
_TOKENS_CPU = 8 * 496  # tokens a batch: eight clips of 10 s
_TOKENS_CUDA = 64 * 496


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
        return logmel(waveform)

    def tokens(self, waveforms: Sequence[Float32], layer: int | None = None) -> list[Float32]:
        """Return float32[Pt, Pf, D] for each waveform float32[T]; `layer` counts from 1, None is the last.

        Raises:
            AudioError: A waveform without samples, or with one that is not finite.
            ConfigError: No such layer.
        """
        wanted = self._check_layers((layer,))
        if self.device.type == "cpu":
            return self.tokens_from_logmel([logmel(waveform) for waveform in waveforms], layer)
        samples = (torch.from_numpy(audible(waveform))[None].to(self.device) for waveform in waveforms)
        return self._encode([logmel_tensor(clip)[0] for clip in samples], wanted)[0]

    def tokens_from_logmel(self, logmels: Sequence[Float32], layer: int | None = None) -> list[Float32]:
        """Return float32[Pt, Pf, D] for each log-mel float32[F, 128], Pt = F // 16.

        Raises:
            AudioError: A spectrogram below 16 frames, or with a value that is not finite.
            ConfigError: No such layer.
        """
        return self.layers_from_logmel(logmels, (layer,))[0]

    def layers_from_logmel(self, logmels: Sequence[Float32], layers: Sequence[int | None]) -> tuple[list[Float32], ...]:
        """Return `tokens_from_logmel` of several layers for the price of the deepest, in the order asked for."""
        wanted = self._check_layers(layers)
        side = self.model.config.patch
        for spectrogram in map(np.asarray, logmels):
            if spectrogram.ndim != 2 or spectrogram.shape[1] != MELS or len(spectrogram) < side:
                raise AudioError(f"log-mel must be [{side} frames or more, {MELS}]", value=spectrogram.shape)
            if not np.isfinite(spectrogram).all():
                raise AudioError("log-mel with values that are not finite")
        return self._encode([torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32)) for x in logmels], wanted)

    def probabilities(self, waveforms: Sequence[Float32]) -> list[Float32]:
        """Return the class probabilities float32[classes] of each waveform, for a fine-tuned checkpoint.

        Raises:
            WeightsError: The checkpoint is not fine-tuned.
        """
        if not self.model.config.classes:
            raise WeightsError(
                "these weights tell no classes", value=self.source, hint="use a *_finetuned_* checkpoint"
            )
        with torch.inference_mode():
            flat = (torch.from_numpy(grid.reshape(1, -1, grid.shape[-1])) for grid in self.tokens(waveforms))
            return [self.model.probabilities(grid.to(self.device))[0].cpu().numpy() for grid in flat]

    def _encode(self, logmels: Sequence[Tensor], layers: Sequence[int]) -> tuple[list[Float32], ...]:
        side, bands, d = self.model.config.patch, self.facts.bands, self.facts.dimension
        patches = [len(spectrogram) // side for spectrogram in logmels]
        results = tuple([np.empty((count, bands, d), np.float32) for count in patches] for _ in layers)
        limit = (_TOKENS_CPU if self.device.type == "cpu" else _TOKENS_CUDA) // bands
        with torch.inference_mode():
            for pieces in _batches(patches, limit):
                batch = torch.stack([logmels[clip][side * start : side * stop] for clip, start, stop in pieces])
                if batch.device != self.device:
                    batch = batch.pin_memory().to(self.device, non_blocking=True)
                for result, grids in zip(results, self.model(batch, layers), strict=True):
                    for (clip, start, stop), grid in zip(pieces, grids.cpu().numpy(), strict=True):
                        result[clip][start:stop] = grid.reshape(stop - start, bands, d)
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


def _batches(patches: Sequence[int], limit: int) -> Iterator[list[tuple[int, int, int]]]:
    """Yield batches of pieces of equal length, as (clip, first patch, patch after the last).

    Args:
        patches: Patches in time of each clip.
        limit: Patches in time a batch.
    """
    by_length: dict[int, list[tuple[int, int, int]]] = {}
    for clip, total in enumerate(patches):
        count = -(-total // LONGEST)
        edges = [total * i // count for i in range(count + 1)]
        for start, stop in pairwise(edges):
            by_length.setdefault(stop - start, []).append((clip, start, stop))
    for length, pieces in sorted(by_length.items()):
        size = max(1, limit // length)
        for first in range(0, len(pieces), size):
            yield pieces[first : first + size]

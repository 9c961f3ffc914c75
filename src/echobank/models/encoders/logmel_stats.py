"""An encoder without weights: mean and standard deviation of each mel bin. The baseline that needs no download."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echobank.errors import AudioError, ConfigError
from echobank.models.encoder import EncoderFacts, Float32
from echobank.models.logmel import HIGH_HZ, HOP, KALDI_128, LOW_HZ, MELS, SAMPLE_RATE, logmel
from echobank.models.weights.cards import Card

PATCH = 16  # frames per token, as BEATs' patches


class LogmelStats:
    """Tokens whose plain mean is [mean over all frames, standard deviation over all frames] of each mel bin."""

    facts = EncoderFacts(
        "logmel_stats", "", SAMPLE_RATE, KALDI_128, 2 * MELS, 1, 1, "fp32", "numpy", PATCH * HOP / SAMPLE_RATE
    )

    @property
    def band_edges_hz(self) -> NDArray[np.float64]:
        """The one band, float64[1, 2], Hz."""
        return np.array([[LOW_HZ, HIGH_HZ]])

    def logmel(self, waveform: Float32) -> Float32:
        """Return log-mel float32[F, 128] of float32[T]; a waveform below 2,800 samples is repeated until it has them.

        Raises:
            AudioError: No samples, or one that is not finite.
        """
        return logmel(waveform)

    def tokens(self, waveforms: Sequence[Float32], layer: int | None = None) -> list[Float32]:
        """Return float32[Pt, 1, 256] for each waveform float32[T].

        Raises:
            AudioError: As `logmel`.
            ConfigError: A layer other than 1.
        """
        return self.tokens_from_logmel([self.logmel(waveform) for waveform in waveforms], layer)

    def tokens_from_logmel(self, logmels: Sequence[Float32], layer: int | None = None) -> list[Float32]:
        """Return float32[Pt, 1, 256] for each log-mel float32[F, 128], Pt = F // 16 (one below 16 frames).

        Raises:
            AudioError: A spectrogram without frames, or with a value that is not finite.
            ConfigError: A layer other than 1.
        """
        if layer not in (None, 1):
            raise ConfigError("no such layer", value=layer, hint="logmel_stats has layer 1 only")
        return [_tokens(np.asarray(frames)) for frames in logmels]


def load(card: Card | None, path: Path | None, device: str, precision: str, compile: bool) -> LogmelStats:
    """Return the encoder; it has no weights and one arithmetic, so nothing is asked of the arguments."""
    del card, path, device, precision, compile
    return LogmelStats()


def _tokens(frames: Float32) -> Float32:
    """Average [x, (x - mean)^2 / deviation] over each patch, so that the mean of the tokens is [mean, deviation].

    The frames left over go to the last patch; each patch counts by its frames, which is where the scale comes from.
    """
    if frames.ndim != 2 or not len(frames) or not np.isfinite(frames).all():
        raise AudioError("log-mel must be [frames, bins] of finite values", value=frames.shape)
    x = frames.astype(np.float64)
    patches = max(1, len(x) // PATCH)
    deviation = x.std(axis=0)
    spread = np.divide((x - x.mean(axis=0)) ** 2, deviation, out=np.zeros_like(x), where=deviation > 0)
    sums = np.add.reduceat(np.concatenate([x, spread], axis=1), np.arange(patches) * PATCH, axis=0)
    return (sums * (patches / len(x))).astype(np.float32)[:, None, :]

"""What every encoder offers: a clip in, tokens out, and the facts that identify it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeGuard, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Sourced:
    """A waveform at the encoder's rate together with the samples of the recording that it was resampled from.

    Attributes:
        samples: float32[T] at the encoder's rate.
        source: float32[S], the same stretch of the recording at its own rate.
        source_rate: That rate, Hz.
    """

    samples: Float32
    source: Float32
    source_rate: int

    def __len__(self) -> int:
        return len(self.samples)


Feature = Float32 | Sourced  # what an encoder takes of one clip


@dataclass(frozen=True)
class EncoderFacts:
    """What made an embedding; two embeddings may be compared only when these agree.

    Attributes:
        name: Name of the card, or the file name of the user's own weights.
        weights_sha256: SHA-256 of the weights file; empty for encoders without weights.
        sample_rate: Rate in Hz that the encoder hears at.
        front_end: Identity of the cacheable log-mel stage; empty when there is none.
        dimension: D, the size of a token.
        bands: Pf, the number of frequency bands of the token grid; 1 when it has none.
        layers: Number of layers that can be asked for by index.
        precision: Arithmetic of the encoder, "fp32" or "bf16" or "int8".
        engine: What runs it: "torch", "onnxruntime", "numpy".
        token_seconds: Hop between tokens in seconds; 0 where a clip is one token.
    """

    name: str
    weights_sha256: str
    sample_rate: int
    front_end: str
    dimension: int
    bands: int
    layers: int
    precision: str = "fp32"
    engine: str = "torch"
    token_seconds: float = 0.16


class Encoder(Protocol):
    """An encoder of any kind. Input waveforms are float32[T] in [-1, 1] at `facts.sample_rate`."""

    @property
    def facts(self) -> EncoderFacts:
        """What made the tokens."""
        ...

    @property
    def band_edges_hz(self) -> NDArray[np.float64]:
        """Lower and upper edge of each frequency band, float64[Pf, 2], Hz."""
        ...

    def tokens(self, waveforms: Sequence[Float32], layer: int | None = None) -> list[Float32]:
        """Return float32[Pt, Pf, D] per clip, for any mix of lengths; `layer` counts from 1, None is the last."""
        ...


class SourceEncoder(Protocol):
    """An encoder that hears the recording at its own rate, where it is known, and not what was resampled from it.

    It takes a plain waveform for a recording at the rate of its facts.
    """

    hears_source: bool

    def tokens(self, waveforms: Sequence[Feature], layer: int | None = None) -> list[Float32]:
        """Return float32[Pt, Pf, D] per clip."""
        ...


def hears_source(encoder: Encoder) -> TypeGuard[SourceEncoder]:
    """Return whether an encoder is to be given `Sourced`."""
    return bool(getattr(encoder, "hears_source", False))


def waveform_of(feature: Feature) -> Float32:
    """Return what an encoder takes that does not hear the source."""
    return feature.samples if isinstance(feature, Sourced) else feature


@runtime_checkable
class SpectrogramEncoder(Encoder, Protocol):
    """An encoder whose first stage is a spectrogram that can be computed apart, kept and shared."""

    def logmel(self, waveform: Float32) -> Float32:
        """Return the cacheable front-end features of one clip, float32[F, M]."""
        ...

    def tokens_from_logmel(self, logmels: Sequence[Float32], layer: int | None = None) -> list[Float32]:
        """Return tokens from what `logmel` gave; equal to `tokens` of the waveforms."""
        ...

"""Teachers: frozen encoders of any kind, and which of their outputs a student learns to predict."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import soxr
from numpy.typing import NDArray

from echobank.models.encoder import Encoder, EncoderFacts
from echobank.models.logmel import FRAME, HOP, SAMPLE_RATE
from echobank.models.registry import joined_names, load_encoder

Float32 = NDArray[np.float32]

_PROBE_SECONDS = 3.0


@dataclass(frozen=True)
class Target:
    """One output of a teacher for a clip.

    Attributes:
        teacher: Number of the teacher.
        layer: Its layer, from 1.
        dimension: Size of a token.
        grid: Whether it has a token for each token of the student; otherwise one mean for the clip.
        name: Teacher, layer and kind, for people.
    """

    teacher: int
    layer: int
    dimension: int
    grid: bool
    name: str


@dataclass(frozen=True)
class Teachers:
    """Several encoders heard at once; those that hear another rate get the clip resampled.

    Attributes:
        encoders: The encoders.
        targets: The targets that they predict.
    """

    encoders: tuple[Encoder, ...]
    targets: tuple[Target, ...]

    @property
    def facts(self) -> tuple[EncoderFacts, ...]:
        """What made the targets."""
        return tuple(encoder.facts for encoder in self.encoders)

    def teach(self, waveforms: Sequence[Float32]) -> tuple[Float32, ...]:
        """Return what each target is for B clips of one length: float32[B, Pt, Pf, D] of a grid, or float32[B, D].

        Args:
            waveforms: float32[T] each, at the student's rate.
        """
        patches = student_patches(len(waveforms[0]))
        heard = [_resampled(waveforms, encoder.facts.sample_rate) for encoder in self.encoders]
        taught = []
        for target in self.targets:
            grids = self.encoders[target.teacher].tokens(heard[target.teacher], target.layer)
            taught.append(np.stack([_fit(g, patches) if target.grid else g.mean(axis=(0, 1)) for g in grids]))
        return tuple(taught)


def load_teachers(names: Sequence[str], bands: int, device: str = "cpu") -> Teachers:
    """Load encoders by card or `onnx:PATH` and see by a probe where their grids agree with the student's.

    Each teacher gives its last layer: token by token where its grid has the student's bands and times, else its mean
    over the clip; in that case it gives the deepest layer whose grid does agree as well.

    Args:
        names: Cards, files, or `<kind>:<file>`; each part of a joined name `a+b` is a teacher of its own.
        bands: Bands of the student's grid.
        device: Where teachers that torch runs are.

    Raises:
        WeightsError: Unknown, missing or damaged.
    """
    encoders = tuple(load_encoder(part, device) for name in names for part in joined_names(name) or [name])
    targets: list[Target] = []
    for number, encoder in enumerate(encoders):
        facts = encoder.facts
        for layer in range(facts.layers, 0, -1):
            tokens = _probe(encoder, layer)
            agrees = tokens.shape[1] == bands and abs(len(tokens) - student_patches(_probe_length())) <= 1
            if agrees or layer == facts.layers:
                kind = "grid" if agrees else "mean"
                name = f"{facts.name} layer {layer} {kind}"
                targets.append(Target(number, layer, tokens.shape[2], agrees, name))
            if agrees:
                break
    return Teachers(encoders, tuple(targets))


def student_patches(samples: int) -> int:
    """Return the patches in time that a BEATs has of a clip at 16 kHz."""
    return (1 + (samples - FRAME) // HOP) // 16


def _probe_length() -> int:
    return round(_PROBE_SECONDS * SAMPLE_RATE)


def _probe(encoder: Encoder, layer: int) -> Float32:
    noise = np.random.default_rng(0).normal(0, 0.1, _probe_length()).astype(np.float32)
    return encoder.tokens(_resampled([noise], encoder.facts.sample_rate), layer)[0]


def _resampled(waveforms: Sequence[Float32], rate: int) -> list[Float32]:
    if rate == SAMPLE_RATE:
        return list(waveforms)
    return [soxr.resample(waveform, SAMPLE_RATE, rate, quality="HQ") for waveform in waveforms]


def _fit(grid: Float32, patches: int) -> Float32:
    """Return exactly `patches` tokens in time; a teacher may have one more or one fewer, then the last is repeated."""
    return grid[np.minimum(np.arange(patches), len(grid) - 1)]

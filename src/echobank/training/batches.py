"""Batches of augmented normal clips. What a step hears depends on the seed and the step, on nothing before it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from echobank.data.augment import mix_noise, pitch_shift
from echobank.data.dcase import Recording
from echobank.errors import AudioError

if TYPE_CHECKING:
    from torch import Tensor

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class BatchSettings:
    """How batches are drawn and changed; the config's `finetune` and `augmentation` explain each.

    Attributes:
        size: Clips per batch.
        seconds: Length of the piece of each clip.
        oversample: How many times as often as a source clip a target clip is drawn.
        mixup: Probability of mixing with another clip of the batch's draw; the share is uniform in 0..1.
        noise: Probability of noise.
        snr: dB, drawn evenly between the smallest and the largest.
        pitch: Probability of a pitch shift.
        semitones: Drawn evenly from these.
        masks: Longest mask as a share of the time and of the mel axis.
        seed: Of everything drawn.
    """

    size: int = 8
    seconds: float = 10.0
    oversample: float = 10.0
    mixup: float = 0.5
    noise: float = 0.5
    snr: tuple[float, ...] = (0.0, 10.0, 20.0)
    pitch: float = 0.25
    semitones: tuple[float, ...] = (-1.0, 1.0)
    masks: tuple[float, float] = (0.1, 0.1)
    seed: int = 0


@dataclass(frozen=True)
class Batch:
    """What a step hears.

    Attributes:
        waveforms: float32[B, T].
        first: Label of each clip, int64[B].
        second: Label of what was mixed in, int64[B]; the clip's own where nothing was.
        share: Share of the first, float32[B].
    """

    waveforms: Float32
    first: "Tensor"
    second: "Tensor"
    share: "Tensor"


@dataclass(frozen=True)
class Sampler:
    """Draws batches.

    Attributes:
        recordings: The clips that are learned from.
        labels: Label of each, int64[N].
        noises: Noise recordings of each machine; a machine without any hears none.
        load: Reads the samples of a recording, float32[T].
        rate: Sample rate, Hz.
        settings: How.
    """

    recordings: Sequence[Recording]
    labels: NDArray[np.int64]
    noises: Mapping[str, Sequence[Recording]]
    load: Callable[[Recording], Float32]
    rate: int
    settings: BatchSettings

    def batch(self, step: int) -> Batch:
        """Return the batch of a step.

        Raises:
            AudioError: A recording cannot be read.
        """
        rng = np.random.default_rng([self.settings.seed, step])
        chances = np.array([self.settings.oversample if r.domain == "target" else 1.0 for r in self.recordings])
        chances /= chances.sum()
        size = self.settings.size
        drawn = rng.choice(len(self.recordings), size=(2, size), p=chances)
        share = np.where(rng.random(size) < self.settings.mixup, rng.random(size), 1.0).astype(np.float32)
        waveforms = []
        for position in range(size):
            waveform = self._piece(int(drawn[0, position]), rng)
            if share[position] < 1:
                other = self._piece(int(drawn[1, position]), rng)
                waveform = share[position] * waveform + (1 - share[position]) * other
            waveforms.append(waveform)
        import torch

        first = torch.from_numpy(self.labels[drawn[0]])
        second = torch.from_numpy(np.where(share < 1, self.labels[drawn[1]], self.labels[drawn[0]]))
        return Batch(np.stack(waveforms).astype(np.float32), first, second, torch.from_numpy(share))

    def _piece(self, index: int, rng: np.random.Generator) -> Float32:
        """Return a piece of a clip of the settings' length, with pitch and noise changed by chance."""
        recording, settings = self.recordings[index], self.settings
        piece = crop(self.load(recording), round(settings.seconds * self.rate), rng)
        if settings.semitones and rng.random() < settings.pitch:
            piece = pitch_shift(piece, float(rng.choice(settings.semitones)), self.rate)
        noises = self.noises.get(recording.machine, ())
        if noises and settings.snr and rng.random() < settings.noise:
            noise = self.load(noises[int(rng.integers(len(noises)))])
            try:
                piece = mix_noise(piece, noise, float(rng.uniform(min(settings.snr), max(settings.snr))), rng)
            except AudioError:
                return piece  # a silent piece has no ratio to a noise
        return piece


def crop(samples: Float32, length: int, rng: np.random.Generator) -> Float32:
    """Return `length` samples from a random place; a shorter clip is repeated."""
    spare = len(samples) - length
    start = int(rng.integers(spare + 1 if spare >= 0 else len(samples)))
    return np.take(samples, np.arange(start, start + length), mode="wrap")


def mask_logmel(logmel: "Tensor", shares: Sequence[float], rng: np.random.Generator) -> "Tensor":
    """Return log-mel float32[B, F, M] with one stretch of time and one of mel set to each clip's mean.

    SpecAugment, Park et al., Interspeech 2019, without time warping.

    Args:
        logmel: float32[B, F, M].
        shares: Longest stretch as a share of F and of M.
        rng: Draws lengths and places.
    """
    masked = logmel.clone()
    means = logmel.mean(dim=(1, 2))
    for clip, mean in zip(masked, means, strict=True):
        for axis, share in enumerate(shares):
            longest = int(share * clip.shape[axis])
            length = int(rng.integers(longest + 1))
            start = int(rng.integers(clip.shape[axis] - length + 1))
            clip.narrow(axis, start, length).fill_(mean)
    return masked

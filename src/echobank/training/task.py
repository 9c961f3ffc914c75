"""A fine-tuning that is ready to run: the frozen encoder, the clips, their labels, and which are held out."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echobank.data.dcase import Recording
from echobank.models.beats.beats_encoder import BeatsEncoder
from echobank.settings import AugmentationConfig, FinetuneConfig
from echobank.training.labels import Labels, hidden, label_clips
from echobank.training.material import Load, Material
from echobank.training.validation import hold_out

Float32 = NDArray[np.float32]
Embed = Callable[[Sequence[Recording]], Float32]


@dataclass(frozen=True)
class Base:
    """The frozen encoder that is fine-tuned.

    Attributes:
        encoder: The encoder; it is not changed.
        name: Its card, or its file as the user named it.
        path: Its weights file.
        layer: The layer that is scored, and so the last that learns; None is the encoder's last.
    """

    encoder: BeatsEncoder
    name: str
    path: Path
    layer: int | None = None


@dataclass(frozen=True)
class Task:
    """A fine-tuning that is ready to run.

    Attributes:
        material: What is learned from.
        base: The frozen encoder.
        load: Reads a recording at the encoder's rate.
        settings: How.
        augmentation: Noise ratios and pitch shifts.
        seed: Of everything drawn.
        labels: Label of each clip.
        held: Positions of the clips that are validated on and not learned from.
    """

    material: Material
    base: Base
    load: Load
    settings: FinetuneConfig
    augmentation: AugmentationConfig
    seed: int
    labels: Labels
    held: NDArray[np.int64]

    @property
    def learned(self) -> NDArray[np.int64]:
        """Positions of the clips that are learned from, int64."""
        return np.setdiff1d(np.arange(len(self.material.recordings)), self.held)

    @property
    def identity(self) -> dict[str, Any]:
        """What an interrupted run and its resumption must share."""
        return {
            "base": self.base.encoder.facts.weights_sha256,
            "layer": self.base.layer,
            "data": self.material.sha256,
            "labels": list(self.labels.names),
            "finetune": asdict(self.settings),
            "augmentation": asdict(self.augmentation),
        }


def prepare(
    material: Material,
    base: Base,
    load: Load,
    settings: FinetuneConfig,
    augmentation: AugmentationConfig,
    *,
    seed: int = 0,
    embed: Embed | None = None,
) -> Task:
    """Label the clips and hold some out.

    Args:
        material: What `gather` gave.
        base: The frozen encoder.
        load: Reads a recording at the encoder's rate.
        settings: How.
        augmentation: Noise ratios and pitch shifts.
        seed: Of everything drawn.
        embed: Frozen embeddings float32[N, D] of clips, for pseudo-labels; None takes the mean token of `base`.

    Raises:
        InputError: There is only one label.
    """
    clips = material.recordings
    wanted = hidden(clips) and (settings.source_clusters > 1 or settings.target_clusters > 1)
    frozen = (embed or (lambda chosen: _mean_tokens(base.encoder, load, chosen)))(clips) if wanted else None
    labels = label_clips(
        clips,
        frozen,
        source_clusters=settings.source_clusters,
        target_clusters=settings.target_clusters,
        seed=seed,
    )
    held = hold_out(labels.of, settings.validation, seed)
    return Task(material, base, load, settings, augmentation, seed, labels, held)


def _mean_tokens(base: BeatsEncoder, load: Load, clips: Sequence[Recording]) -> Float32:
    vectors = [base.tokens([load(clip).samples])[0].mean(axis=(0, 1)) for clip in clips]
    return np.stack(vectors)

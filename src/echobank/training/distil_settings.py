"""Settings of a distillation: which student, from whom, how. Needs no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from echobank.models.beats.beats_config import BeatsConfig
from echobank.training.streams import StreamSettings

# 64 buckets up to a distance of 64 tokens: a piece of 2 s already trains them all, so longer clips meet no new one
STUDENTS: Mapping[str, BeatsConfig] = {
    "beats_tiny": BeatsConfig(
        embed=128,
        layers=4,
        dimension=192,
        hidden=768,
        heads=6,
        position_taps=64,
        position_groups=16,
        buckets=64,
        max_distance=64,
    ),
}


@dataclass(frozen=True)
class Weights:
    """Weights of the parts of the loss: targets, targets centred within a group, and identity with state."""

    overall: float = 1.0
    within: float = 1.0
    identity: float = 0.1


@dataclass(frozen=True)
class DistilSettings:
    """How to distil.

    Attributes:
        student: A name of `STUDENTS`.
        teachers: Cards, files, or `onnx:PATH`.
        clips: Distinct clips that are made, rounded up to whole batches.
        passes: How often each is heard; above 1 they are kept on disk, about 0.1 MB each.
        learning_rate: AdamW's, highest value.
        weight_decay: Of matrices.
        ema: Decay of the running mean that is exported.
        precision: "bf16" runs under autocast.
        checkpoint_every: Steps between checkpoints.
        workers: Processes that make clips ahead; 0 makes them in this one.
        device: Where the student learns.
        weights: Of the parts of the loss.
        stream: How clips are drawn; its seed is that of everything.
    """

    student: str = "beats_tiny"
    teachers: tuple[str, ...] = ()
    clips: int = 50_000
    passes: float = 20.0
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    ema: float = 0.999
    precision: Literal["fp32", "bf16"] = "fp32"
    checkpoint_every: int = 100
    workers: int = 0
    device: str = "cpu"
    weights: Weights = field(default_factory=Weights)
    stream: StreamSettings = field(default_factory=StreamSettings)

    @property
    def lessons(self) -> int:
        """Distinct batches."""
        return -(-self.clips // self.stream.size)

    @property
    def steps(self) -> int:
        """Steps in all."""
        return max(1, round(self.passes * self.lessons))

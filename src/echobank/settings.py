"""The settings themselves: frozen dataclasses whose defaults equal `configs/default.yaml`, where each is explained."""

from dataclasses import dataclass, field
from typing import Literal

Params = dict[str, float | int | str | bool]


@dataclass(frozen=True)
class DataConfig:
    """Where recordings come from and how they are read."""

    root: str | None = None
    cache: str = "cache"
    channel: int | Literal["w1"] = 0
    machines: tuple[str, ...] = ()
    workers: int = 0
    logmel_cache: bool = True


@dataclass(frozen=True)
class TrainConfig:
    """Which training clips fill the bank."""

    domain: Literal["source+target", "source", "target"] = "source+target"


@dataclass(frozen=True)
class ModelConfig:
    """Clip to embedding, and the number of neighbours."""

    embedding: str = "beats_base"
    k: int = 3
    layer: int | None = None
    pooling: str = "mean"
    pooling_params: dict[str, float] = field(default_factory=dict)
    bands: bool = False
    device: str = "auto"
    precision: Literal["fp32", "bf16", "auto"] = "fp32"
    compile: bool = False
    batch_size: int = 0


@dataclass(frozen=True)
class ScoringConfig:
    """Embedding to anomaly score."""

    backend: str = "knn"
    metric: Literal["cosine", "euclidean"] = "cosine"
    params: Params = field(default_factory=dict)
    level: bool = True
    flag_rate: float = 0.02


@dataclass(frozen=True)
class DecisionConfig:
    """Anomaly score to a decision of 0 or 1."""

    method: str = "transport"
    false_alarm_rate: float = 0.1
    leave_out: Literal["clip", "state"] = "state"


@dataclass(frozen=True)
class AugmentationConfig:
    """Extra bank rows made from the training clips."""

    enabled: bool = False
    snr: tuple[float, ...] = (0.0, 10.0, 20.0)
    pitch_shift: tuple[float, ...] = (-1.0, 1.0)


@dataclass(frozen=True)
class FinetuneConfig:
    """Low-rank fine-tuning of the encoder on normal clips."""

    rank: int = 64
    alpha: float = 64.0
    loss: Literal["adacos", "arcface"] = "adacos"
    subcentres: int = 16
    scale: float = 30.0
    margin: float = 0.3
    epochs: int = 25
    steps: int | None = None
    batch_size: int = 8
    learning_rate: float = 1e-4
    warmup: float = 0.1
    weight_decay: float = 0.01
    oversample: float = 10.0
    source_clusters: int = 7
    target_clusters: int = 1
    seconds: float = 10.0
    mixup: float = 0.5
    noise: float = 0.5
    pitch: float = 0.25
    masks: tuple[float, ...] = (0.1, 0.1)
    validation: float = 0.1
    patience: int = 5
    checkpoint_every: int = 100
    precision: Literal["fp32", "bf16"] = "fp32"
    gradient_checkpointing: bool = False


@dataclass(frozen=True)
class WeightsConfig:
    """Where encoder weights are."""

    path: str | None = None
    cache: str | None = None
    adapter: str | None = None


@dataclass(frozen=True)
class OutputConfig:
    """Where results go, and the name of the system in the challenge package."""

    dir: str = "results"
    label: str = "echobank_1"


@dataclass(frozen=True)
class Config:
    """All settings of a run."""

    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()
    model: ModelConfig = ModelConfig()
    scoring: ScoringConfig = ScoringConfig()
    decision: DecisionConfig = DecisionConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    finetune: FinetuneConfig = FinetuneConfig()
    weights: WeightsConfig = WeightsConfig()
    output: OutputConfig = OutputConfig()
    seed: int = 0

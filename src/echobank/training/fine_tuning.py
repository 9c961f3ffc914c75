"""Fine-tuning an encoder on normal clips: labels, batches, low-rank updates, an angular loss; an adapter comes out.

Recipe: LoRA on q, k and v with a sub-centre angular loss over machine and attribute labels, as the fine-tuned systems
of DCASE 2023 to 2026 train. Only training clips are read, normal by their name, and noise-only supplemental ones.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from echobank.data.dcase import Recording
from echobank.models.beats.adapter import Adapter, AdapterCard, save_adapter
from echobank.models.beats.beats_encoder import BeatsEncoder
from echobank.models.beats.checkpoint import read_checkpoint
from echobank.progress import Progress, silent
from echobank.settings import FinetuneConfig
from echobank.training.batches import BatchSettings, Sampler, crop, mask_logmel
from echobank.training.curves import can_draw, draw_curves, write_journal
from echobank.training.heads import AngularHead, AttentiveStatistics
from echobank.training.loop import LoopSettings, fit
from echobank.training.lora import LoraEncoder
from echobank.training.material import Load
from echobank.training.task import Task
from echobank.training.training_state import TrainingJournal
from echobank.training.validation import neighbour_ratio, validation_set

EMBEDDING = 256  # size that the head sees
VALIDATION_CLIPS = 256  # most clips that a validation embeds

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Finetuned:
    """The result.

    Attributes:
        adapter: The adapter, also in `path`.
        path: Its file.
        files: The other files: journal, and curves where matplotlib is installed.
        journal: The course of the training.
        task: What was done.
    """

    adapter: Adapter
    path: Path
    files: tuple[Path, ...]
    journal: TrainingJournal
    task: Task


class Learner(nn.Module):
    """Encoder with low-rank updates, pooling and head: log-mel and labels in, loss out."""

    def __init__(self, encoder: LoraEncoder, labels: int, settings: FinetuneConfig) -> None:
        super().__init__()
        self.encoder = encoder
        self.pooling = AttentiveStatistics(encoder.dimension, EMBEDDING)
        self.head = AngularHead(
            EMBEDDING,
            labels,
            settings.loss,
            subcentres=settings.subcentres,
            scale=settings.scale,
            margin=settings.margin,
        )

    def forward(self, logmel: Tensor, first: Tensor, second: Tensor, share: Tensor) -> Tensor:
        """Return the loss of a batch of log-mel float32[B, F, M]."""
        loss: Tensor = self.head(self.pooling(self.encoder(logmel)), first, second, share)
        return loss


def finetune(task: Task, folder: Path, progress: Progress = silent) -> Finetuned:
    """Train an adapter; continue where an interrupted run of the same settings and data stopped.

    Args:
        task: What `prepare` gave.
        folder: Where checkpoint, adapter, journal and curves go.
        progress: Shows how far it is.

    Raises:
        InputError: The folder's checkpoint is of another run.
        AudioError: A recording has become unreadable.
        OutputError: A file cannot be written.
    """
    settings = task.settings
    torch.manual_seed(task.seed)
    encoder = LoraEncoder(
        read_checkpoint(task.base.path),
        settings.rank,
        settings.alpha,
        layers=task.base.layer,
        gradient_checkpointing=settings.gradient_checkpointing,
    )
    learner = Learner(encoder, len(task.labels), settings).to(task.base.encoder.device)
    journal = fit(
        learner,
        _loss(task, learner),
        _loop_settings(task),
        folder,
        task.identity,
        validate=_validation(task, encoder),
        progress=progress,
        label="finetune",
    )
    adapter = save_adapter(Adapter(_card(task, journal), encoder.tensors()), folder / "adapter.safetensors")
    title = f"{task.base.name}: LoRA of rank {settings.rank}, {settings.loss}, {len(task.labels)} labels"
    files = [write_journal(journal, folder / "journal.json")]
    if can_draw():
        files.append(draw_curves(journal, folder / "curves.svg", title))
    return Finetuned(adapter, folder / "adapter.safetensors", tuple(files), journal, task)


def _loop_settings(task: Task) -> LoopSettings:
    settings = task.settings
    epoch = -(-len(task.learned) // settings.batch_size)
    steps = settings.steps or settings.epochs * epoch
    return LoopSettings(
        steps=steps,
        learning_rate=settings.learning_rate,
        warmup=settings.warmup,
        weight_decay=settings.weight_decay,
        precision=settings.precision,
        checkpoint_every=settings.checkpoint_every,
        validate_every=min(epoch, steps),
        patience=settings.patience,
        seed=task.seed,
    )


def _loss(task: Task, learner: Learner) -> Callable[[int], Tensor]:
    """Return the loss of a step: a batch of the clips that are learned from, masked, through the learner."""
    settings, augmentation, base = task.settings, task.augmentation, task.base.encoder
    batches = BatchSettings(
        settings.batch_size,
        settings.seconds,
        settings.oversample,
        settings.mixup,
        settings.noise,
        augmentation.snr,
        settings.pitch,
        augmentation.pitch_shift,
        seed=task.seed,
    )
    clips = [task.material.recordings[i] for i in task.learned]
    sampler = Sampler(
        clips,
        task.labels.of[task.learned],
        task.material.noises,
        lambda recording: task.load(recording).samples,
        task.base.encoder.facts.sample_rate,
        batches,
    )

    def loss_at(step: int) -> Tensor:
        batch = sampler.batch(step)
        rng = np.random.default_rng([task.seed, step, 1])
        logmel = mask_logmel(_logmel(base, batch.waveforms), settings.masks, rng)
        parts = (logmel, batch.first, batch.second, batch.share)
        loss: Tensor = learner(*(part.to(base.device) for part in parts))
        return loss

    return loss_at


def _validation(task: Task, encoder: LoraEncoder) -> Callable[[], float]:
    """Return the validation: mean tokens of held-out clips and some others, neighbours by leave-one-out."""
    chosen, queries = validation_set(task.labels.of, task.held, VALIDATION_CLIPS, task.seed)
    clips = [task.material.recordings[i] for i in chosen]
    base = task.base.encoder

    def validate() -> float:
        vectors = []
        for start in range(0, len(clips), task.settings.batch_size):
            pieces = _pieces(base, task.load, clips[start : start + task.settings.batch_size], task.settings)
            tokens = encoder(_logmel(base, pieces).to(base.device))
            vectors.append(tokens.mean(dim=1).float().cpu().numpy())
        return neighbour_ratio(np.concatenate(vectors), task.labels.of[chosen], queries)

    return validate


def _card(task: Task, journal: TrainingJournal) -> AdapterCard:
    facts, settings = task.base.encoder.facts, task.settings
    return AdapterCard(
        base=task.base.name,
        base_sha256=facts.weights_sha256,
        rank=settings.rank,
        alpha=settings.alpha,
        layers=task.base.layer or facts.layers,
        dimension=facts.dimension,
        data_sha256=task.material.sha256,
        clips=len(task.learned),
        labels=task.labels.names,
        steps=journal.best if journal.best is not None else journal.step,
        seed=task.seed,
        training=json.loads(json.dumps({**asdict(settings), "augmentation": asdict(task.augmentation)})),
        validation=tuple(journal.validations),
    )


def _pieces(base: BeatsEncoder, load: Load, clips: Sequence[Recording], settings: FinetuneConfig) -> Float32:
    """Return the same piece of each clip every time, float32[B, T]."""
    length = round(settings.seconds * base.facts.sample_rate)
    return np.stack([crop(load(clip).samples, length, np.random.default_rng(0)) for clip in clips])


def _logmel(base: BeatsEncoder, waveforms: Float32) -> Tensor:
    with torch.autocast("cpu", enabled=False):  # the front end is float32 whatever the training's precision
        return torch.from_numpy(np.stack([base.logmel(waveform) for waveform in waveforms]))

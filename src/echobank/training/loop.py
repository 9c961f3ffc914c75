"""The training loop: AdamW, warm-up and cosine, clipping, running mean, validation, exact resume.

It knows nothing of what is trained. An interrupted run continues from its last checkpoint and gives the
numbers of one that was not, as long as the loss of a step depends on the step, the model and torch's generator only.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from echobank.errors import InputError
from echobank.progress import Progress, silent
from echobank.training.training_state import (
    State,
    TrainingJournal,
    copy_into,
    learned,
    load_checkpoint,
    save_checkpoint,
)

CHECKPOINT = "checkpoint.safetensors"


@dataclass(frozen=True)
class LoopSettings:
    """How to train.

    Attributes:
        steps: Steps in all.
        learning_rate: AdamW's, highest value.
        warmup: Share of the steps over which it rises linearly; then a cosine to 0.
        weight_decay: Of matrices; vectors (biases, norms) and scalars have none.
        clip_norm: Largest norm of all gradients together.
        ema: Decay per step of the running mean of what learns; 0 keeps none.
        precision: "bf16" runs the loss under autocast.
        checkpoint_every: Steps between checkpoints.
        validate_every: Steps between validations; 0 never validates.
        patience: Validations in a row without a better one before it stops; 0 never stops.
        seed: Of torch's generator.
    """

    steps: int
    learning_rate: float = 1e-4
    warmup: float = 0.1
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    ema: float = 0.0
    precision: Literal["fp32", "bf16"] = "fp32"
    checkpoint_every: int = 100
    validate_every: int = 0
    patience: int = 0
    seed: int = 0

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        rising = max(1, round(self.warmup * self.steps))
        if step < rising:
            return self.learning_rate * (step + 1) / rising
        done = (step - rising) / max(1, self.steps - rising)
        return self.learning_rate * 0.5 * (1.0 + math.cos(math.pi * done))


class _Averages:
    """States beside the model: the running mean, and the best seen by validation."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._decay = decay
        self.states: dict[str, State] = {"ema": _snapshot(model)} if decay else {}

    def update(self, model: nn.Module) -> None:
        if "ema" not in self.states:
            return
        for name, tensor in learned(model).items():
            mean = self.states["ema"][name]
            if mean.is_floating_point():
                mean.lerp_(tensor.detach(), 1.0 - self._decay)
            else:
                mean.copy_(tensor)

    def restore(self, states: dict[str, State], device: torch.device) -> None:
        self.states = {
            prefix: {name: tensor.to(device) for name, tensor in state.items()} for prefix, state in states.items()
        }


def fit(
    model: nn.Module,
    loss_at: Callable[[int], Tensor],
    settings: LoopSettings,
    folder: Path,
    identity: dict[str, Any],
    *,
    validate: Callable[[], float] | None = None,
    progress: Progress = silent,
    label: str = "train",
) -> TrainingJournal:
    """Train what requires gradients in `model`, in place; continue from the folder's checkpoint where there is one.

    At the end the model holds the best state seen by validation, else the running mean, else the last state.

    Args:
        model: All that learns, and all that does not.
        loss_at: Loss of a step, counted from 0: a scalar with a graph.
        settings: How to train.
        folder: Where the checkpoint lies.
        identity: Plain facts that a resumed run must share: data, labels, base weights.
        validate: Value of the model as it is, lower is better; called before the first step too.
        progress: Shows how far it is.
        label: Name of the bar.

    Raises:
        InputError: The checkpoint is damaged or of another run, or a loss is not finite.
        OutputError: The checkpoint cannot be written.
    """
    path = folder / CHECKPOINT
    identity = {**identity, "settings": asdict(settings)}
    optimizer = _optimizer(model, settings)
    averages = _Averages(model, settings.ema)
    torch.manual_seed(settings.seed)
    if path.exists():
        journal, states = load_checkpoint(path, model, optimizer, identity)
        averages.restore(states, next(model.parameters()).device)
    else:
        journal = TrainingJournal()
        if validate:
            _validate(model, validate, journal, averages)
    for step in progress(_steps(journal, settings), total=settings.steps - journal.step, label=label):
        started = time.perf_counter()
        _step(model, optimizer, loss_at, settings, step, journal)
        averages.update(model)
        journal.seconds += time.perf_counter() - started
        last = journal.step == settings.steps
        if validate and settings.validate_every and (last or journal.step % settings.validate_every == 0):
            _validate(model, validate, journal, averages)
            _stop_early(journal, settings.patience)
        if last or journal.stopped or journal.step % settings.checkpoint_every == 0:
            save_checkpoint(path, model, optimizer, journal, identity, averages.states)
    final = averages.states.get("best") or averages.states.get("ema")
    if final:
        copy_into(model, final)
    return journal


def _steps(journal: TrainingJournal, settings: LoopSettings) -> Iterator[int]:
    while journal.step < settings.steps and not journal.stopped:
        yield journal.step


def _optimizer(model: nn.Module, settings: LoopSettings) -> torch.optim.AdamW:
    chosen = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in chosen if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in chosen if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=settings.learning_rate)


def _step(
    model: nn.Module,
    optimizer: torch.optim.AdamW,
    loss_at: Callable[[int], Tensor],
    settings: LoopSettings,
    step: int,
    journal: TrainingJournal,
) -> None:
    rate = settings.rate(step)
    for group in optimizer.param_groups:
        group["lr"] = rate
    model.train()
    optimizer.zero_grad(set_to_none=True)
    device = next(model.parameters()).device.type
    with torch.autocast(device, torch.bfloat16, enabled=settings.precision == "bf16"):
        loss = loss_at(step)
    value = float(loss.detach())
    if not math.isfinite(value):
        raise InputError(
            f"the loss is not finite at step {step}", value=value, hint="lower the learning rate or look at the data"
        )
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], settings.clip_norm)
    optimizer.step()
    journal.losses.append(value)
    journal.rates.append(rate)


def _validate(model: nn.Module, validate: Callable[[], float], journal: TrainingJournal, averages: _Averages) -> None:
    """Validate the running mean where there is one, else the model; leave the model and the generator as they were."""
    current = _snapshot(model)
    generator = torch.get_rng_state()
    if "ema" in averages.states:
        copy_into(model, averages.states["ema"])
    model.eval()
    with torch.no_grad():
        value = float(validate())
    if not journal.validations or value < min(v for _, v in journal.validations):
        journal.best = journal.step
        averages.states["best"] = _snapshot(model)
    journal.validations.append((journal.step, value))
    copy_into(model, current)
    torch.set_rng_state(generator)


def _stop_early(journal: TrainingJournal, patience: int) -> None:
    steps = [step for step, _ in journal.validations]
    since = sum(step > (journal.best or 0) for step in steps)
    if patience and since >= patience:
        journal.stopped = f"no better validation in {since} validations"


def _snapshot(model: nn.Module) -> State:
    return {name: tensor.detach().clone() for name, tensor in learned(model).items()}

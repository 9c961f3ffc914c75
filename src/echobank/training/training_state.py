"""The state of a training run on disk: one safetensors file, whole or absent, from which it continues exactly.

Tensors carry a prefix: `model.` what learns and every buffer, `ema.` its running mean, `best.` the best seen by
validation, `adam.<k>.` the optimizer's moments of parameter k, `rng.` the generators. Plain facts are JSON.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from echobank.errors import InputError
from echobank.storage import write_bytes

_KEY = "echobank-training"
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # what torch.optim.AdamW keeps a parameter

State = dict[str, Tensor]


@dataclass
class TrainingJournal:
    """What happened so far.

    Attributes:
        losses: Loss of each step.
        rates: Learning rate of each step.
        validations: (steps done, value), lower is better.
        best: Steps done at the best validation; None before the first.
        seconds: Time spent in steps.
        stopped: Why it ended before its last step; empty when it did not.
    """

    losses: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    validations: list[tuple[int, float]] = field(default_factory=list)
    best: int | None = None
    seconds: float = 0.0
    stopped: str = ""

    @property
    def step(self) -> int:
        """Steps done."""
        return len(self.losses)


def learned(model: nn.Module) -> State:
    """Return the parameters that learn and the persistent buffers of the modules that hold one of them."""
    state: State = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    homes = [name for name, module in model.named_modules() if any(p.requires_grad for p in module.parameters())]
    kept = set(model.state_dict())
    for name, buffer in model.named_buffers():
        if name in kept and name.rpartition(".")[0] in homes:
            state[name] = buffer
    return state


def copy_into(model: nn.Module, state: State) -> None:
    """Set what learns in `model` to `state`, in place."""
    with torch.no_grad():
        for name, tensor in learned(model).items():
            tensor.copy_(state[name])


def save_checkpoint(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    journal: TrainingJournal,
    identity: dict[str, Any],
    extra: dict[str, State],
) -> None:
    """Write everything that the next step depends on.

    Args:
        path: The file.
        model: What learns.
        optimizer: AdamW over it.
        journal: What happened so far.
        identity: Plain facts of the run; a resumed run must have equal ones.
        extra: Further states by prefix: "ema", "best".

    Raises:
        OutputError: The file cannot be written.
    """
    tensors = {f"model.{name}": tensor for name, tensor in learned(model).items()}
    for prefix, state in extra.items():
        tensors |= {f"{prefix}.{name}": tensor for name, tensor in state.items()}
    for index, parameter in enumerate(_parameters(optimizer)):
        for name in _MOMENTS:
            if name in optimizer.state[parameter]:
                tensors[f"adam.{index}.{name}"] = optimizer.state[parameter][name]
    tensors["rng.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["rng.cuda"] = torch.cuda.get_rng_state()
    header = json.dumps({"identity": identity, "journal": asdict(journal)}, sort_keys=True)
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    write_bytes(path, save(plain, metadata={_KEY: header}))


def load_checkpoint(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, identity: dict[str, Any]
) -> tuple[TrainingJournal, dict[str, State]]:
    """Put a run back to where `save_checkpoint` left it; return its journal and the further states by prefix.

    Raises:
        InputError: The file is damaged, or belongs to another run; what differs is named.
    """
    header, groups = _read(path)
    theirs = header["identity"]
    ours = json.loads(json.dumps(identity))
    for key in sorted({*theirs, *ours}):
        if theirs.get(key) != ours.get(key):
            raise InputError(
                f"the checkpoint was made with {key} {theirs.get(key)!r}, this run has {ours.get(key)!r}",
                where=path,
                hint="give another output folder, or remove the checkpoint to start again",
            )
    try:
        copy_into(model, groups.pop("model"))
        moments = groups.pop("adam", {})
        for index, parameter in enumerate(_parameters(optimizer)):
            found = {name: moments[f"{index}.{name}"] for name in _MOMENTS if f"{index}.{name}" in moments}
            if found:  # AdamW counts its steps on the CPU
                optimizer.state[parameter] = {
                    name: tensor if name == "step" else tensor.to(parameter.device) for name, tensor in found.items()
                }
        generators = groups.pop("rng")
        torch.set_rng_state(generators["cpu"])
        if "cuda" in generators and torch.cuda.is_available():
            torch.cuda.set_rng_state(generators["cuda"])
        facts = dict(header["journal"])
        facts["validations"] = [(int(step), float(value)) for step, value in facts["validations"]]
        return TrainingJournal(**facts), groups
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise _damaged(path) from error


def _read(path: Path) -> tuple[dict[str, Any], dict[str, State]]:
    try:
        with safe_open(path, framework="pt") as stream:
            header = json.loads(stream.metadata()[_KEY])
            groups: dict[str, State] = {}
            for name in stream.keys():  # noqa: SIM118 - a safetensors reader is not a mapping
                prefix, _, rest = name.partition(".")
                groups.setdefault(prefix, {})[rest] = stream.get_tensor(name)
            return header, groups
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> InputError:
    return InputError("not a training checkpoint, or a damaged one", where=path, hint="remove it to start again")


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]

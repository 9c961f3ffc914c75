"""Adapters: low-rank updates of an encoder's q, k and v projections, in a file of their own beside the weights.

W' = W + (alpha / rank) B A (LoRA, Hu et al., ICLR 2022). The file is safetensors: `layers.<i>.<q|k|v>.a` [rank, D] and
`.b` [D, rank], and a card as JSON. It belongs to one weights file, known by its hash.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from echobank.errors import WeightsError
from echobank.models.beats.checkpoint import Checkpoint, read_checkpoint
from echobank.storage import atomic_path, sha256_file, write_bytes

SCHEMA = 1
PROJECTIONS = ("q", "k", "v")
_KEY = "echobank-adapter"


@dataclass(frozen=True)
class AdapterCard:
    """What an adapter is and how it came about.

    Attributes:
        base: Card or file of the weights it belongs to.
        base_sha256: Hash of that file.
        rank: Rank of each update.
        alpha: Updates are scaled by alpha / rank.
        layers: Layers of the encoder.
        dimension: D of the projections.
        data_sha256: Hash over the names and hashes of the clips that were learned from.
        clips: How many.
        labels: Names of the labels.
        steps: Steps of training behind the state that was kept.
        seed: Seed of the training.
        training: Its settings.
        validation: (steps done, value), lower is better.
    """

    base: str
    base_sha256: str
    rank: int
    alpha: float
    layers: int
    dimension: int
    data_sha256: str = ""
    clips: int = 0
    labels: tuple[str, ...] = ()
    steps: int = 0
    seed: int = 0
    training: Mapping[str, Any] = field(default_factory=dict)
    validation: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Adapter:
    """An adapter that was read or trained; `sha256` is that of its file, empty before it has one."""

    card: AdapterCard
    tensors: Mapping[str, Tensor]
    sha256: str = ""

    def update(self, layer: int, projection: str) -> Tensor:
        """Return what is added to a projection's weight, float32[D, D]; layers count from 0."""
        a, b = (self.tensors[f"layers.{layer}.{projection}.{side}"] for side in "ab")
        return (self.card.alpha / self.card.rank) * (b @ a)


def is_adapter(path: Path | str) -> bool:
    """Return whether a file is an adapter, by its header."""
    try:
        with safe_open(path, framework="pt") as stream:
            return _KEY in (stream.metadata() or {})
    except (OSError, SafetensorError):
        return False


def save_adapter(adapter: Adapter, path: Path | str) -> Adapter:
    """Write an adapter and return it with the hash of its file.

    Raises:
        OutputError: The file cannot be written.
    """
    header = json.dumps({"schema": SCHEMA, "card": dataclasses.asdict(adapter.card)}, sort_keys=True)
    tensors = {name: tensor.detach().cpu().float().contiguous() for name, tensor in adapter.tensors.items()}
    write_bytes(path, save(tensors, metadata={_KEY: header}))
    return dataclasses.replace(adapter, tensors=tensors, sha256=sha256_file(path))


def load_adapter(path: Path | str) -> Adapter:
    """Read an adapter.

    Raises:
        WeightsError: No such file, not an adapter, damaged, or written by a newer program.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError("no such adapter", where=path, hint="make one with echobank finetune")
    try:
        with safe_open(path, framework="pt") as stream:
            header = json.loads(stream.metadata()[_KEY])
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 - not a mapping
        if header["schema"] > SCHEMA:
            raise WeightsError("the adapter was written by a newer echobank", where=path, hint="update echobank")
        facts = header["card"]
        validation = tuple((int(step), float(value)) for step, value in facts.pop("validation"))
        card = AdapterCard(**{**facts, "labels": tuple(facts["labels"]), "validation": validation})
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(
            "not an adapter, or a damaged one", where=path, hint="make one with echobank finetune"
        ) from error
    _check_shapes(card, tensors, path)
    return Adapter(card, tensors, sha256_file(path))


def merge(base: Checkpoint, adapter: Adapter, where: Path | str) -> Checkpoint:
    """Return the base with the updates added to its projections, under a hash of its own.

    Args:
        base: The weights; the tensors that are not updated are shared.
        adapter: What to add.
        where: The adapter's file, for messages.

    Raises:
        WeightsError: The adapter belongs to other weights; both are named.
    """
    card = adapter.card
    if base.sha256 != card.base_sha256:
        raise WeightsError(
            f"the adapter belongs to {card.base} ({card.base_sha256[:12]}), these weights are {base.sha256[:12]}",
            where=where,
            hint="give the weights it was made on (--weights)",
        )
    state = dict(base.state)
    for layer in range(card.layers):
        for projection in PROJECTIONS:
            name = f"encoder.layers.{layer}.self_attn.{projection}_proj.weight"
            state[name] = state[name] + adapter.update(layer, projection)
    both = hashlib.sha256(f"{base.sha256} {adapter.sha256}".encode()).hexdigest()
    return Checkpoint(base.config, state, both)


def write_merged(base: Path | str, adapter: Path | str, out: Path | str) -> None:
    """Write base and adapter as one checkpoint of the official format, which other programs read too.

    Raises:
        WeightsError: One of the files is damaged, or the adapter belongs to other weights.
        OutputError: The file cannot be written.
    """
    merged = merge(read_checkpoint(base), load_adapter(adapter), adapter)
    official = torch.load(base, map_location="cpu", weights_only=True)
    with atomic_path(out) as temporary:
        torch.save({**official, "model": {name: tensor.clone() for name, tensor in merged.state.items()}}, temporary)


def _check_shapes(card: AdapterCard, tensors: Mapping[str, Tensor], path: Path) -> None:
    sides = {"a": (card.rank, card.dimension), "b": (card.dimension, card.rank)}
    expected = {
        f"layers.{layer}.{projection}.{side}": shape
        for layer in range(card.layers)
        for projection in PROJECTIONS
        for side, shape in sides.items()
    }
    for name in sorted({*expected, *tensors}):
        found = tuple(tensors[name].shape) if name in tensors else None
        if found != expected.get(name) or not bool(torch.isfinite(tensors[name]).all()):
            raise WeightsError(
                f"tensor {name} of the adapter should be {expected.get(name, 'absent')}", value=found, where=path
            )

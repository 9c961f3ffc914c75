"""Official BEATs checkpoints: read without running their code, checked key by key, sizes taken from the file.

Format: `{"cfg": dict, "model": state_dict}` as microsoft/unilm, folder beats, writes it; fine-tuned files also hold a
`predictor`. Weight norm has the keys of the old torch interface, `weight_g` and `weight_v`.
"""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from echobank.errors import WeightsError
from echobank.models.beats.beats_config import BeatsConfig
from echobank.storage import sha256_file

ACTIVATIONS = ("gelu", "gelu_accurate", "relu", "tanh")
_REQUIRED = {  # switches that this implementation has only one way of
    "layer_norm_first": False,
    "conv_bias": False,
    "relative_position_embedding": True,
    "gru_rel_pos": True,
}
_SIZES = {
    "embed_dim": "embed",
    "encoder_layers": "layers",
    "encoder_embed_dim": "dimension",
    "encoder_ffn_embed_dim": "hidden",
    "encoder_attention_heads": "heads",
    "input_patch_size": "patch",
    "conv_pos": "position_taps",
    "conv_pos_groups": "position_groups",
    "num_buckets": "buckets",
    "max_distance": "max_distance",
}
_TABLE = "encoder.layers.{}.self_attn.relative_attention_bias.weight"


@dataclass(frozen=True)
class Checkpoint:
    """A checked checkpoint: sizes, tensors under their official names as float32, and the file's hash."""

    config: BeatsConfig
    state: Mapping[str, Tensor]
    sha256: str


def read_checkpoint(path: Path | str) -> Checkpoint:
    """Read and check a checkpoint of the official format.

    Raises:
        WeightsError: No such file, not a checkpoint, damaged, or of another architecture; names the key at fault.
    """
    path = Path(path)
    content = _load(path)
    config = _config(content["cfg"], path)
    state = check_state(content["model"], config, path)
    return Checkpoint(config, state, sha256_file(path))


def expected_shapes(config: BeatsConfig) -> dict[str, tuple[int, ...]]:
    """Return the official name and shape of every tensor of a checkpoint."""
    d, heads = config.dimension, config.heads
    shapes: dict[str, tuple[int, ...]] = {
        "patch_embedding.weight": (config.embed, 1, config.patch, config.patch),
        "encoder.pos_conv.0.bias": (d,),
        "encoder.pos_conv.0.weight_g": (1, 1, config.position_taps),
        "encoder.pos_conv.0.weight_v": (d, d // config.position_groups, config.position_taps),
    }
    shapes |= _pair("encoder.layer_norm", d) | _pair("layer_norm", config.embed)
    if config.embed != d:
        shapes |= _pair("post_extract_proj", d, config.embed)
    if config.classes:
        shapes |= _pair("predictor", config.classes, d)
    for layer in range(config.layers):
        prefix = f"encoder.layers.{layer}"
        shapes[f"{prefix}.self_attn.grep_a"] = (1, heads, 1, 1)
        shapes[_TABLE.format(layer)] = (config.buckets, heads)
        shapes |= _pair(f"{prefix}.self_attn.grep_linear", 8, d // heads)
        for name in ("k", "v", "q", "out"):
            shapes |= _pair(f"{prefix}.self_attn.{name}_proj", d, d)
        shapes |= _pair(f"{prefix}.self_attn_layer_norm", d) | _pair(f"{prefix}.final_layer_norm", d)
        shapes |= _pair(f"{prefix}.fc1", config.hidden, d) | _pair(f"{prefix}.fc2", d, config.hidden)
    return shapes


def check_state(state: Any, config: BeatsConfig, where: Path | str) -> dict[str, Tensor]:
    """Return the tensors as float32 once every key, shape and value is as expected.

    Raises:
        WeightsError: A key is missing, unknown, of another shape, or not finite.
    """
    expected = expected_shapes(config)
    if not isinstance(state, Mapping):
        raise WeightsError("`model` of the checkpoint is not a dict of tensors", where=where)
    for kind, keys in (("is missing", expected.keys() - state.keys()), ("is unknown", state.keys() - expected.keys())):
        if keys:
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            raise WeightsError(f"key {min(map(str, keys))}{more} {kind}", where=where, hint="not this architecture")
    tensors = {}
    for key, shape in expected.items():
        tensor = state[key]
        found = tuple(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
        if found != shape:
            raise WeightsError(f"key {key} has shape {found}, expected {shape}", where=where)
        tensors[key] = tensor.float()
        if not bool(torch.isfinite(tensors[key]).all()):
            raise WeightsError(f"key {key} holds values that are not finite", where=where)
    for layer in range(1, config.layers):
        if not torch.equal(tensors[_TABLE.format(0)], tensors[_TABLE.format(layer)]):
            raise WeightsError(
                f"key {_TABLE.format(layer)} differs from layer 0's, which all layers share", where=where
            )
    return tensors


def _load(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise WeightsError("no such checkpoint file", where=path, hint="give a file, or a name of `echobank models`")
    hint = "expected an official BEATs checkpoint such as BEATs_iter3_plus_AS2M.pt"
    try:
        with path.open("rb") as stream:
            start = stream.read(256).lstrip().lower()
        if start.startswith((b"<!doctype", b"<html")):
            raise WeightsError("this is a web page, not a checkpoint", where=path, hint="download the file itself")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
        raise WeightsError("not a checkpoint, or a damaged one", where=path, hint=hint) from error
    if not isinstance(content, dict) or not isinstance(content.get("cfg"), dict) or "model" not in content:
        raise WeightsError("the file holds no `cfg` and `model`", where=path, hint=hint)
    return content


def _config(cfg: Mapping[str, Any], where: Path) -> BeatsConfig:
    sizes: dict[str, int] = {}
    for key, name in _SIZES.items():
        value = cfg.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise WeightsError(f"cfg.{key} must be a whole number above 0", value=value, where=where)
        sizes[name] = value
    for key, value in _REQUIRED.items():
        if bool(cfg.get(key, value)) != value:
            raise WeightsError(f"cfg.{key} is supported as {value} only", value=cfg[key], where=where)
    activation = cfg.get("activation_fn")
    if activation not in ACTIVATIONS:
        raise WeightsError(
            "unknown activation", value=activation, where=where, hint=f"known are {', '.join(ACTIVATIONS)}"
        )
    for key, divisor in (("encoder_attention_heads", sizes["heads"]), ("conv_pos_groups", sizes["position_groups"])):
        if sizes["dimension"] % divisor:
            raise WeightsError(f"cfg.{key} does not divide encoder_embed_dim", value=divisor, where=where)
    classes = int(cfg.get("predictor_class", 527)) if cfg.get("finetuned_model") else 0
    return BeatsConfig(**sizes, deep_norm=bool(cfg.get("deep_norm")), activation=activation, classes=classes)


def _pair(name: str, rows: int, *columns: int) -> dict[str, tuple[int, ...]]:
    """Return the weight and bias of a linear layer, or of a norm when there are no columns."""
    return {f"{name}.weight": (rows, *columns), f"{name}.bias": (rows,)}

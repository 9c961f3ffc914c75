"""Small BEATs models that learn: the parameters of the official checkpoint format, run through `models.beats`.

What learns are the official tensors themselves; each forward pass folds them into the fused form, so that what is
written loads through the strict path of official files and gives the same tokens.
"""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from echobank.models.beats.beats_config import BeatsConfig
from echobank.models.beats.checkpoint import expected_shapes
from echobank.models.beats.model import Beats, fold
from echobank.storage import atomic_path

_TABLE = "self_attn.relative_attention_bias.weight"
_FIRST_TABLE = f"encoder.layers.0.{_TABLE}"
_SCALED = ("v_proj", "out_proj", "fc1", "fc2")  # DeepNet, Wang et al. 2022: gain (8 layers)^(-1/4), others 1


class Student(nn.Module):
    """A BEATs whose parameters are those of a checkpoint; log-mel in, tokens of the last layer out."""

    def __init__(self, config: BeatsConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        generator = torch.Generator().manual_seed(seed)
        self._names = [key for key in expected_shapes(config) if _TABLE not in key or key == _FIRST_TABLE]
        self.tensors = nn.ParameterList(
            nn.Parameter(_initial(key, expected_shapes(config)[key], config, generator)) for key in self._names
        )
        with torch.device("meta"):
            self._skeleton = (Beats(config),)  # in a tuple: its parameters are not ours

    def forward(self, logmel: Tensor) -> Tensor:
        """Return float32[B, P, D] of log-mel before normalisation float32[B, F, 128], with a graph.

        For inference use `models.beats.build` on `state`: this one has no cache to go stale.
        """
        with torch.enable_grad():
            folded = fold(self.config, self._official())
            (tokens,) = functional_call(self._skeleton[0], folded, (logmel,))
        result: Tensor = tokens
        return result

    def state(self) -> dict[str, Tensor]:
        """Return the tensors under their official names, float32 copies on the CPU."""
        return {name: tensor.detach().float().cpu().clone() for name, tensor in self._official().items()}

    def _official(self) -> dict[str, Tensor]:
        state: dict[str, Tensor] = dict(zip(self._names, self.tensors, strict=True))
        shared = {f"encoder.layers.{index}.{_TABLE}": state[_FIRST_TABLE] for index in range(self.config.layers)}
        return state | shared


def write_student(student: Student, path: Path) -> Path:
    """Write the student in the official checkpoint format.

    Raises:
        OutputError: The file cannot be written.
    """
    with atomic_path(path) as temporary:
        torch.save({"cfg": _official_cfg(student.config), "model": student.state()}, temporary)
    return path


def _official_cfg(config: BeatsConfig) -> dict[str, Any]:
    return {
        "embed_dim": config.embed,
        "encoder_layers": config.layers,
        "encoder_embed_dim": config.dimension,
        "encoder_ffn_embed_dim": config.hidden,
        "encoder_attention_heads": config.heads,
        "input_patch_size": config.patch,
        "conv_pos": config.position_taps,
        "conv_pos_groups": config.position_groups,
        "num_buckets": config.buckets,
        "max_distance": config.max_distance,
        "conv_bias": False,
        "deep_norm": config.deep_norm,
        "relative_position_embedding": True,
        "gru_rel_pos": True,
        "layer_norm_first": False,
        "activation_fn": config.activation,
        "finetuned_model": False,
    }


def _initial(key: str, shape: tuple[int, ...], config: BeatsConfig, generator: torch.Generator) -> Tensor:
    """Return a tensor to start from: norms at 1, biases at 0, matrices Xavier with DeepNet's gain."""
    if key.endswith(".bias"):
        return torch.zeros(shape)
    if "norm" in key or key.endswith("grep_a"):
        return torch.ones(shape)
    random = torch.randn(shape, generator=generator)
    if key.endswith(_TABLE):
        return 0.02 * random
    spread = math.sqrt(4.0 / (config.position_taps * config.dimension))  # as wav2vec 2.0 starts its positions
    if key.endswith("weight_v"):
        return spread * random
    if key.endswith("weight_g"):
        return torch.full(shape, spread * math.sqrt(config.dimension**2 / config.position_groups))
    fan_in = math.prod(shape[1:])
    gain = (8.0 * config.layers) ** -0.25 if config.deep_norm and any(name in key for name in _SCALED) else 1.0
    return gain * math.sqrt(2.0 / (shape[0] + fan_in)) * random

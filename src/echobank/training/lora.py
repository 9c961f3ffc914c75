"""Low-rank updates of q, k and v that gradients can go through, on an encoder that is otherwise frozen.

LoRA, Hu et al., ICLR 2022: W' = W + (alpha / rank) B A, B zero at first, so that step 0 is the frozen encoder exactly.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization
from torch.utils.checkpoint import checkpoint

from echobank.models.beats.adapter import PROJECTIONS
from echobank.models.beats.checkpoint import Checkpoint
from echobank.models.beats.model import Layer, build


class LowRank(nn.Module):
    """The update of one layer, as a parametrization of the weight of its `qkv`.

    That weight holds q, k, v and below them two gate rows per head, which are linear in q: what is added to q runs
    through `gate_rows` into them too.
    """

    gate_rows: Tensor

    def __init__(self, dimension: int, heads: int, gate_rows: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        self.heads, self.scale = heads, alpha / rank
        self.a = nn.Parameter(torch.empty(3, rank, dimension))
        self.b = nn.Parameter(torch.zeros(3, dimension, rank))
        for matrix in self.a:
            nn.init.kaiming_uniform_(matrix, a=math.sqrt(5))
        self.register_buffer("gate_rows", gate_rows, persistent=False)

    def forward(self, weight: Tensor) -> Tensor:
        """Return weight float32[3 D + 2 heads, D] with the updates added."""
        updates = self.scale * (self.b @ self.a)
        q = updates[0].view(self.heads, -1, weight.shape[1])
        gates = torch.einsum("ge,hed->hgd", self.gate_rows, q).flatten(0, 1)
        return weight + torch.cat([updates.flatten(0, 1), gates])


class LoraEncoder(nn.Module):
    """An encoder whose only parameters that learn are low-rank updates; log-mel in, tokens out."""

    def __init__(
        self,
        base: Checkpoint,
        rank: int,
        alpha: float,
        *,
        layers: int | None = None,
        gradient_checkpointing: bool = False,
    ) -> None:
        """Build the encoder.

        Args:
            base: The frozen weights.
            rank: Rank of each update.
            alpha: Updates are scaled by alpha / rank.
            layers: Layers that are used and updated; None is all.
            gradient_checkpointing: Compute each layer again on the way back instead of keeping what it made.
        """
        super().__init__()
        self.dimension, self.layers = base.config.dimension, layers or base.config.layers
        self.gradient_checkpointing = gradient_checkpointing
        self.beats = build(base.config, base.state)
        self.updates = nn.ModuleList()
        for layer in self._layers:
            update = LowRank(self.dimension, base.config.heads, layer.get_buffer("gate_rows"), rank, alpha)
            register_parametrization(layer.qkv, "weight", update)
            self.updates.append(update)

    @property
    def _layers(self) -> list[Layer]:
        return [layer for layer in self.beats.layers[: self.layers] if isinstance(layer, Layer)]

    def forward(self, logmel: Tensor) -> Tensor:
        """Return the last used layer's tokens float32[B, P, D] of log-mel before normalisation float32[B, F, 128]."""
        with torch.no_grad():
            x = self.beats.embed(logmel)
            bias = self.beats.position_bias(x.shape[1])
        for layer in self._layers:
            if self.gradient_checkpointing and torch.is_grad_enabled():
                x = checkpoint(layer, x, bias, use_reentrant=False)
            else:
                x = layer(x, bias)
        return x

    def tensors(self) -> dict[str, Tensor]:
        """Return the updates under the names of an adapter file."""
        return {
            f"layers.{number}.{projection}.{side}": getattr(update, side)[index].detach().clone()
            for number, update in enumerate(self.updates)
            for index, projection in enumerate(PROJECTIONS)
            for side in "ab"
        }

"""The matrix products of a transformer: in float32 or bfloat16, plain or packed for the units of this processor."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

_ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "": lambda x: x,
    "gelu": functional.gelu,
    "gelu_accurate": lambda x: functional.gelu(x, approximate="tanh"),
    "relu": functional.relu,
    "tanh": torch.tanh,
}
_FUSED = {  # the same, as oneDNN takes them into a matrix product: name, algorithm
    "": ("none", ""),
    "gelu": ("gelu", "none"),
    "gelu_accurate": ("gelu", "tanh"),
    "relu": ("relu", ""),
    "tanh": ("tanh", ""),
}
_ROWS, _CLIPS = 496, 8  # tokens of a 10 s clip, clips a batch: weights are packed for products of about this size


class Projection(nn.Linear):
    """A linear layer, and what follows it, that computes in the type of its weight.

    Rounding a weight to bfloat16 errs alike for every token, so a mean over tokens keeps that error while all others
    average out. `lost` holds what rounding took away; run over the mean token of a clip it gives most of it back,
    for one row of work where the layer has hundreds.
    """

    lost: Tensor | None

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__(inputs, outputs, bias)
        self.register_buffer("lost", None, persistent=False)

    def forward(self, x: Tensor, activation: str = "") -> Tensor:
        """Return f(x W^T + b), [B, P, outputs] in the weight's type, of [B, P, inputs]."""
        x = x.to(self.weight.dtype)
        if self.lost is None:
            return _ACTIVATIONS[activation](functional.linear(x, self.weight, self.bias))
        # what is added is less than a bfloat16 step of most outputs: it must join the sum before that is rounded
        shift = (self.bias + functional.linear(x.mean(dim=1), self.lost)).to(x.dtype)
        rows = shift.unsqueeze(1).expand(-1, x.shape[1], -1).flatten(0, 1)
        product = torch.addmm(rows, x.flatten(0, 1), self.weight.t())
        return _ACTIVATIONS[activation](product).view(*x.shape[:2], -1)

    def each(self, clips: Sequence[Tensor], activation: str = "") -> list[Tensor]:
        """Return the same of single clips [P, inputs], once the weight is packed."""
        clips = [clip.to(self.weight.dtype) for clip in clips]
        shifts: Sequence[Tensor] = [self.bias] * len(clips)
        if self.lost is not None:
            means = torch.stack([clip.sum(dim=0) / len(clip) for clip in clips])
            shifts = (self.bias + _product(means, self.lost)).to(means.dtype).unbind()
        name, algorithm = _FUSED[activation]
        return [_product(x, self.weight, b, name, algorithm) for x, b in zip(clips, shifts, strict=True)]

    def round_weight(self) -> None:
        """Hold the weight as bfloat16, and beside it what that loses."""
        exact = self.weight.detach()
        self.weight = nn.Parameter(exact.to(torch.bfloat16), requires_grad=False)
        self.lost = (exact - self.weight.float()).to(torch.bfloat16)

    def pack(self) -> None:
        """Lay the weight out as the matrix units of this processor want it; from then on only `each` works."""
        self.weight = nn.Parameter(_packed(self.weight.detach(), _ROWS), requires_grad=False)
        if self.lost is not None:
            self.lost = _packed(self.lost, _CLIPS)


def _packed(weight: Tensor, rows: int) -> Tensor:
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, rows)
    return packed


def _product(x: Tensor, packed: Tensor, bias: Tensor | None = None, name: str = "none", algorithm: str = "") -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, packed, bias, name, [], algorithm)
    return product

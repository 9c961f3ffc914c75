"""The matrix products of a transformer: in float32 or bfloat16, plain or packed for the units of this processor."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from echobank.models.device import packed_product, packed_weight

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
_ROWS, _CLIPS = 496, 8  # tokens of a 10 s clip, clips per batch: weights are packed for products of about this size


class Projection(nn.Linear):
    """A linear layer, and what follows it, that computes in the type of its weight.

    Rounding a weight to bfloat16 errs alike for every token, so a mean over tokens keeps that error while all others
    average out. `lost` holds what rounding took away; run over the mean token of a clip it gives most of it back,
    for one row of work where the layer has hundreds.

    Attributes:
        lost: What rounding the weight to bfloat16 took away, or None.
        emulated: Whether products of bfloat16 are taken in float32, for processors that are slower in bfloat16. Every
            operand and every result is rounded as it is where a unit multiplies, which also sums in float32.
    """

    lost: Tensor | None

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__(inputs, outputs, bias)
        self.register_buffer("lost", None, persistent=False)
        self.emulated = False

    def forward(self, x: Tensor, activation: str = "") -> Tensor:
        """Return f(x W^T + b), [B, P, outputs] in the precision of the weight, of [B, P, inputs]."""
        x = self._operand(x)
        if self.lost is None:
            return _ACTIVATIONS[activation](functional.linear(x, self.weight, self.bias))
        # what is added is less than a bfloat16 step of most outputs: it must join the sum before that is rounded
        means = self._operand(x.mean(dim=1))
        shift = self._operand(self.bias + functional.linear(means, self.lost.to(means.dtype)))
        rows = shift.unsqueeze(1).expand(-1, x.shape[1], -1).flatten(0, 1)
        product = torch.addmm(rows, x.flatten(0, 1), self.weight.t())
        return self._result(_ACTIVATIONS[activation](self._result(product))).view(*x.shape[:2], -1)

    def each(self, clips: Sequence[Tensor], activation: str = "") -> list[Tensor]:
        """Return the same of single clips [P, inputs], once the weight is packed."""
        clips = [self._operand(clip) for clip in clips]
        shifts: Sequence[Tensor] = [self.bias] * len(clips)
        if self.lost is not None:
            means = self._operand(torch.stack([clip.sum(dim=0) / len(clip) for clip in clips]))
            shifts = self._operand(self.bias + self._regained(means)).unbind()
        fused = _FUSED[activation]
        return [self._result(packed_product(x, self.weight, b, *fused)) for x, b in zip(clips, shifts, strict=True)]

    def round_weight(self, emulated: bool = False) -> None:
        """Hold the weight as bfloat16, and beside it what that loses; `emulated` holds the same values as float32."""
        exact = self.weight.detach()
        rounded = exact.to(torch.bfloat16)
        self.lost = (exact - rounded.float()).to(torch.bfloat16)
        self.weight = nn.Parameter(rounded.float() if emulated else rounded, requires_grad=False)
        self.emulated = emulated

    def pack(self) -> None:
        """Lay the weight out as the matrix units of this processor want it; from then on only `each` works."""
        self.weight = nn.Parameter(packed_weight(self.weight.detach(), _ROWS), requires_grad=False)
        if self.lost is not None and not self.emulated:
            self.lost = packed_weight(self.lost, _CLIPS)

    def _operand(self, x: Tensor) -> Tensor:
        return x.to(torch.bfloat16).float() if self.emulated else x.to(self.weight.dtype)

    def _result(self, x: Tensor) -> Tensor:
        return x.to(torch.bfloat16) if self.emulated else x

    def _regained(self, means: Tensor) -> Tensor:
        """Return what rounding took from the products of mean tokens [B, inputs].

        Always in products of as many rows: with another number, a row may be summed in another order, and what a clip
        comes to would depend on the others of its batch.
        """
        assert self.lost is not None
        lost = self.lost.float() if self.emulated else self.lost
        multiply = functional.linear if self.emulated else packed_product
        filled = functional.pad(means, (0, 0, 0, -len(means) % _CLIPS))
        return torch.cat([multiply(rows, lost) for rows in torch.split(filled, _CLIPS)])[: len(means)]

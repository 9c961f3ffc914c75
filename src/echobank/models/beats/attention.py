"""Attention under a gated position bias, softmax(q k^T / sqrt(size) + gate bias) v, of a batch or of single clips."""

import torch
from torch import Tensor
from torch.nn import functional

_HEADS = 4  # attention maps that exist at once for a single clip; 1 MB each for 10 s


def attend(q: Tensor, k: Tensor, v: Tensor, gate: Tensor, bias: Tensor) -> Tensor:
    """Return the attended values [B, P, D], heads side by side.

    Args:
        q: Queries [B, H, P, size].
        k: Keys, the same.
        v: Values, the same.
        gate: Gate of the bias, float32[B, H, P, 1].
        bias: Position bias, float32[H, P, P].
    """
    if q.is_cuda and not q.requires_grad:
        room = torch.empty(*gate.shape[:3], bias.shape[-1], dtype=q.dtype, device=q.device)
        mask = torch.mul(gate, bias, out=room)  # rounded as it is written: the map in float32 would double the traffic
    else:
        mask = (gate * bias).to(q.dtype) if q.requires_grad else gate * bias
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)


class Solo:
    """Attention of single clips of one length, a few heads at a time in buffers that stay in the cache.

    Args:
        bias: Position bias, float32[H, P, P].
        dtype: Of queries, keys and values.
        emulated: Take products of bfloat16 in float32, for processors that are slower in bfloat16.
    """

    def __init__(self, bias: Tensor, dtype: torch.dtype, emulated: bool = False) -> None:
        self._bias = bias
        self._emulated = emulated
        self._maps = bias.new_empty(_HEADS, *bias.shape[1:])
        self._scores = self._maps if dtype == self._maps.dtype else torch.empty_like(self._maps, dtype=dtype)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, gate: Tensor) -> Tensor:
        """Return the attended values [P, D] of q, k, v [H, P, size] and gate float32[H, P, 1]."""
        q = torch.mul(q, q.shape[-1] ** -0.5, out=torch.empty(q.shape, dtype=q.dtype))
        k, v = k.contiguous(), v.contiguous()
        mixed = torch.empty_like(v)
        for first in range(0, len(q), _HEADS):
            part = slice(first, first + _HEADS)
            scores = self._multiply(q[part], k[part].mT, self._scores[: len(q[part])])
            weights = _weigh(scores, gate[part], self._bias[part], self._maps[: len(scores)])
            self._multiply(weights, v[part], mixed[part])
        return mixed.transpose(0, 1).flatten(1)

    def _multiply(self, a: Tensor, b: Tensor, out: Tensor) -> Tensor:
        return out.copy_(torch.bmm(a.float(), b.float())) if self._emulated else torch.bmm(a, b, out=out)


def _weigh(scores: Tensor, gate: Tensor, bias: Tensor, maps: Tensor) -> Tensor:
    """Return softmax(scores + gate bias), taken in float32, in the place of the scores.

    Args:
        scores: q k^T / sqrt(size), [H, P, P].
        gate: Gate of the bias, float32[H, P, 1].
        bias: Position bias, float32[H, P, P].
        maps: Room for float32[H, P, P]; the scores themselves where they are float32.
    """
    logits = scores if scores.dtype == maps.dtype else maps.copy_(scores)
    logits.addcmul_(gate, bias)
    return scores.copy_(torch.softmax(logits, dim=-1, out=logits))

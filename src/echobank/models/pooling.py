"""Tokens to one vector per clip, or one per frequency band.

Every pooling is a function of a set of tokens: their order in time does not matter.
"""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from echobank.errors import ConfigError
from echobank.models.encoder import Float32

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Method:
    """A way of pooling: its function, and its parameters with their defaults."""

    function: Callable[..., Any]
    defaults: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Pooling:
    """How tokens become an embedding.

    Attributes:
        name: One of `POOLINGS`.
        bands: Pool over time only and keep one vector per frequency band (BEAM, arXiv 2603.13749).
        params: Parameters; those left out are filled in with their defaults.

    Raises:
        ConfigError: Unknown name or parameter, or an impossible value.
    """

    name: str = "mean"
    bands: bool = False
    params: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.name not in POOLINGS:
            raise ConfigError("unknown pooling", value=self.name, hint=_nearest(self.name, POOLINGS))
        defaults = POOLINGS[self.name].defaults
        for key, value in self.params.items():
            if key not in defaults:
                raise ConfigError(f"pooling {self.name} has no such parameter", value=key, hint=_nearest(key, defaults))
            good, allowed = _ALLOWED[key]
            if isinstance(value, bool) or not isinstance(value, int | float) or not good(value):
                raise ConfigError(f"impossible value of {key} of pooling {self.name}", value=value, hint=allowed)
        full = {key: float(self.params.get(key, default)) for key, default in defaults.items()}
        object.__setattr__(self, "params", full)


def pool(tokens: Float32, pooling: Pooling) -> Float32:
    """Pool the tokens of one clip.

    Args:
        tokens: float32[Pt, Pf, D].
        pooling: How.

    Returns:
        float32[H, D], where H is Pf when bands are kept, otherwise 1. Sums are taken in float64.
    """
    sets = tokens.transpose(1, 0, 2) if pooling.bands else tokens.reshape(1, -1, tokens.shape[-1])
    pooled: Float32 = POOLINGS[pooling.name].function(np, sets.astype(np.float64), **pooling.params).astype(np.float32)
    return pooled


def pool_together(tokens: "Tensor", pooling: Pooling) -> "Tensor":
    """Pool clips of one length where their tokens are: float32[B, H, D] of float32[B, Pt, Pf, D], numbers as `pool`."""
    import torch

    clips, _, bands, dimension = tokens.shape
    sets = tokens.transpose(1, 2) if pooling.bands else tokens
    sets = sets.reshape(clips * bands if pooling.bands else clips, -1, dimension).double()
    pooled: Tensor = POOLINGS[pooling.name].function(torch, sets, **pooling.params).float()
    return pooled.view(clips, -1, dimension)


# The functions below take a library, numpy or torch, and what both of them know: sets of tokens float64[N, T, D].


def _mean(xp: Any, x: Any) -> Any:
    return x.mean(1)


def _max(xp: Any, x: Any) -> Any:
    return xp.amax(x, 1)


def _gem(xp: Any, x: Any, p: float) -> Any:
    """Generalised mean `(mean_t max(x_t, 0)^p)^(1/p)` (Radenovic, Tolias and Chum, TPAMI 2019)."""
    return _power_mean(xp, x, xp.ones_like(x[..., 0]) / x.shape[1], p)


def _rdp(xp: Any, x: Any, gamma: float) -> Any:
    """Relative deviation pooling (arXiv 2603.04605): weights proportional to (1 + d_t / max d)^gamma."""
    return _weighted(x, _deviation_weights(xp, x, gamma))


def _rdp_gem(xp: Any, x: Any, gamma: float, p: float) -> Any:
    """GeM whose mean has the weights of RDP (arXiv 2603.04605)."""
    return _power_mean(xp, x, _deviation_weights(xp, x, gamma), p)


def _gwrp(xp: Any, x: Any, r: float) -> Any:
    """Global weighted rank pooling over deviations: weight r^rank, rank 0 the farthest from the mean token.

    Tokens at the same deviation share their weights, so that the result does not depend on their order.
    """
    rows = []
    for deviation in _deviations(xp, x):
        _, place, count = xp.unique(-deviation, return_inverse=True, return_counts=True)
        first = xp.zeros_like(deviation[: len(count)]) + xp.cumsum(count, 0) - count
        # r^first + ... + r^(first + count - 1), a geometric sum; its factor 1 / (1 - r) is the same for all
        rows.append((r**first * (1 - r**count) / count if r < 1 else xp.ones_like(first))[place])
    weights = xp.stack(rows)
    return _weighted(x, weights / weights.sum(1)[:, None])


def _deviations(xp: Any, x: Any) -> Any:
    return xp.sqrt(xp.square(x - x.mean(1)[:, None]).sum(2))


def _deviation_weights(xp: Any, x: Any, gamma: float) -> Any:
    relative = 1 + _relative(xp, _deviations(xp, x))
    weights = (relative / xp.amax(relative, 1)[:, None]) ** gamma  # the same proportions, without overflow
    return weights / weights.sum(1)[:, None]


def _weighted(x: Any, weights: Any) -> Any:
    return (weights[:, None] @ x)[:, 0]


def _power_mean(xp: Any, x: Any, weights: Any, p: float) -> Any:
    positive = xp.clip(x, 0, None)  # the largest is taken out before the power, which could overflow
    return _weighted(_relative(xp, positive) ** p, weights) ** (1 / p) * xp.amax(positive, 1)


def _relative(xp: Any, x: Any) -> Any:
    """Return x as a share of its largest along axis 1; 0 where that is 0."""
    largest = xp.amax(x, 1)[:, None]
    return x / xp.where(largest > 0, largest, 1.0)


def _nearest(name: str, allowed: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(name, allowed, n=1)
    return f"did you mean {near[0]}?" if near else f"allowed: {', '.join(allowed) or 'none'}"


_ALLOWED: Mapping[str, tuple[Callable[[float], bool], str]] = {
    "p": (lambda value: 0 < value < np.inf, "allowed: above 0"),
    "gamma": (lambda value: 0 <= value < np.inf, "allowed: 0 or more"),
    "r": (lambda value: 0 < value <= 1, "allowed: above 0, up to 1"),
}

# Defaults: gamma 10 and, with GeM, gamma 9 and p 3 are the one setting for all encoders of arXiv 2603.04605 (for BEATs
# alone 19, and 16 with p 3); GeM p 3 is the usual one; GWRP r 0.4 of the same paper.
POOLINGS: Mapping[str, Method] = {
    "mean": Method(_mean),
    "max": Method(_max),
    "gem": Method(_gem, {"p": 3.0}),
    "rdp": Method(_rdp, {"gamma": 10.0}),
    "rdp_gem": Method(_rdp_gem, {"gamma": 9.0, "p": 3.0}),
    "gwrp": Method(_gwrp, {"r": 0.4}),
}

"""Tokens to one vector a clip, or one a frequency band.

Every pooling is a function of a set of tokens: their order in time does not matter.
"""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from echobank.errors import ConfigError
from echobank.models.encoder import Float32

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Method:
    """A way of pooling: its function, and its parameters with their defaults."""

    function: Callable[..., Float64]
    defaults: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Pooling:
    """How tokens become an embedding.

    Attributes:
        name: One of `POOLINGS`.
        bands: Pool over time only and keep one vector a frequency band (BEAM, arXiv 2603.13749).
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
    return POOLINGS[pooling.name].function(sets.astype(np.float64), **pooling.params).astype(np.float32)


def _mean(x: Float64) -> Float64:
    return np.asarray(x.mean(axis=1))


def _max(x: Float64) -> Float64:
    return np.asarray(x.max(axis=1))


def _gem(x: Float64, p: float) -> Float64:
    """Generalised mean `(mean_t max(x_t, 0)^p)^(1/p)` (Radenovic, Tolias and Chum, TPAMI 2019)."""
    return _power_mean(x, np.full(x.shape[:2], 1 / x.shape[1]), p)


def _rdp(x: Float64, gamma: float) -> Float64:
    """Relative deviation pooling (arXiv 2603.04605): weights proportional to (1 + d_t / max d)^gamma."""
    return _weighted(x, _deviation_weights(x, gamma))


def _rdp_gem(x: Float64, gamma: float, p: float) -> Float64:
    """GeM whose mean has the weights of RDP (arXiv 2603.04605)."""
    return _power_mean(x, _deviation_weights(x, gamma), p)


def _gwrp(x: Float64, r: float) -> Float64:
    """Global weighted rank pooling over deviations: weight r^rank, rank 0 the farthest from the mean token.

    Tokens at the same deviation share their weights, so that the result does not depend on their order.
    """
    weights = np.empty(x.shape[:2])
    for row, deviation in zip(weights, _deviations(x), strict=True):
        _, place, count = np.unique(-deviation, return_inverse=True, return_counts=True)
        by_rank = r ** np.arange(len(deviation), dtype=np.float64)
        row[:] = (np.add.reduceat(by_rank, np.cumsum(count) - count) / count)[place]
    return _weighted(x, weights / weights.sum(axis=1, keepdims=True))


def _deviations(x: Float64) -> Float64:
    return np.asarray(np.linalg.norm(x - x.mean(axis=1, keepdims=True), axis=2))


def _deviation_weights(x: Float64, gamma: float) -> Float64:
    deviation = _deviations(x)
    largest = deviation.max(axis=1, keepdims=True)
    relative = np.divide(deviation, largest, out=np.zeros_like(deviation), where=largest > 0)
    relative = (1 + relative) / (1 + relative).max(axis=1, keepdims=True)  # the same proportions, without overflow
    weights = relative**gamma
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _weighted(x: Float64, weights: Float64) -> Float64:
    return np.asarray(np.matmul(weights[:, None], x)[:, 0])


def _power_mean(x: Float64, weights: Float64, p: float) -> Float64:
    positive = np.maximum(x, 0)
    largest = positive.max(axis=1, keepdims=True)  # taken out before the power, which could overflow
    relative = np.divide(positive, largest, out=np.zeros_like(positive), where=largest > 0)
    return np.asarray(_weighted(relative**p, weights) ** (1 / p) * largest[:, 0])


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

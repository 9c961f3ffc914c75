"""Resampling as one convolution: the very resampler of `data.windows`, taken from its impulse responses.

A resampler from a to b Hz repeats itself every P samples in and Q samples out, P / Q = a / b in lowest terms. Output
q of each period is one filter over the input, so that all of them are a convolution with Q kernels and stride P.
Silence lies before the first sample and behind the last one. Where the ratio is none of whole numbers, the first few
outputs of a recording differ from that by up to 1e-3; they are linear in the first samples, too, and corrected.
"""

import math
from dataclasses import dataclass

import numpy as np
import soxr
from numpy.typing import NDArray

from echobank.data.audio import RESAMPLER_QUALITY
from echobank.edge.nodes import Graph

Float32 = NDArray[np.float32]

_REACH = 128  # samples of the lower rate to each side; the responses are below 1e-7 from 100 on
_KERNELS = 16  # at least: a convolution with one kernel leaves the processor idle
_STARTED = 16  # outputs after which a recording's beginning is forgotten; 5 were seen
_NOISE = 1e-7  # of the resampler's own float32


@dataclass(frozen=True)
class Polyphase:
    """A resampler as kernels.

    Attributes:
        kernels: float32[Q, K], K = P + 2 reach: what each output of a period takes of the input.
        period: P, samples in.
        reach: Samples of the input that are heard before a period begins, and after it ends.
        start: float32[reach, S]: what the first samples of a recording add to its first S outputs.
    """

    kernels: Float32
    period: int
    reach: int
    start: Float32

    @property
    def outputs(self) -> int:
        """Q, samples out per period."""
        return len(self.kernels)

    def apply(self, graph: Graph, samples: str, first: str) -> str:
        """Return float32[n Q] of float32[n P + 2 reach], whose first `reach` samples lie before the first period.

        Args:
            graph: Where the nodes go.
            samples: The input.
            first: Name of float32[1]: 1 where the recording begins after those `reach` samples, 0 elsewhere.
        """
        kernels = graph.constant(self.kernels[:, None])
        convolved = graph.add("Conv", graph.shape(samples, (1, 1, -1)), kernels, strides=[self.period])
        whole = graph.shape(graph.add("Transpose", convolved, perm=[0, 2, 1]), (-1,))
        if not self.start.any():
            return whole
        begun = graph.slice(samples, self.reach, 2 * self.reach)
        added = graph.add("Mul", graph.add("MatMul", begun, graph.constant(self.start)), first)
        head = graph.add("Add", graph.slice(whole, 0, _STARTED), added)
        return graph.add("Concat", head, graph.slice(whole, _STARTED, np.iinfo(np.int64).max), axis=0)


def polyphase(rate: int, wanted: int) -> Polyphase:
    """Return the resampler from one rate to another, Hz."""
    common = math.gcd(rate, wanted)
    period, outputs = rate // common, wanted // common
    several = -(-_KERNELS // outputs)
    period, outputs = period * several, outputs * several
    reach = math.ceil(_REACH * max(1.0, rate / wanted))
    before = -(-2 * reach // period)  # whole periods of silence on either side
    impulses = np.eye(period + 2 * reach, dtype=np.float32)
    first = before * period - reach
    behind = (2 * before + 1) * period - first - len(impulses)
    heard = _resampled(np.pad(impulses, ((first, behind), (0, 0))), rate, wanted)
    kernels = np.ascontiguousarray(heard[before * outputs : (before + 1) * outputs])
    return Polyphase(kernels, period, reach, _beginning(rate, wanted, reach, (before * period, before * outputs)))


def _beginning(rate: int, wanted: int, reach: int, silence: tuple[int, int]) -> Float32:
    """Return by how much the response to the first samples of a recording differs from that after silence."""
    impulses = np.pad(np.eye(reach, dtype=np.float32), ((0, 4 * reach + 64), (0, 0)))
    begun = _resampled(impulses, rate, wanted)[:_STARTED]
    later = _resampled(np.pad(impulses, ((silence[0], 0), (0, 0))), rate, wanted)[silence[1] :][:_STARTED]
    apart = (begun - later).T
    return np.where(np.abs(apart) > _NOISE, apart, 0).astype(np.float32)


def resample_whole(graph: Graph, samples: str, rate: int, wanted: int) -> str:
    """Return a whole clip float32[T] at another rate, T wanted / rate samples, rounded as soxr does."""
    if rate == wanted:
        return samples
    made = polyphase(rate, wanted)
    pads = graph.constant([made.reach, made.reach + made.period], np.int64)
    whole = made.apply(graph, graph.add("Pad", samples, pads), graph.constant([1.0], np.float32))
    length = graph.cast(graph.length(samples), "float64")
    exact = graph.add("Div", length, graph.constant([rate / wanted], np.float64))  # and rounded as the resampler does
    return graph.slice(whole, 0, graph.cast(graph.add("Add", exact, graph.constant([0.5], np.float64)), "int64"))


def _resampled(columns: Float32, rate: int, wanted: int) -> Float32:
    """Return columns float32[T, C], each a signal, at another rate."""
    return np.asarray(soxr.resample(columns, rate, wanted, quality=RESAMPLER_QUALITY))

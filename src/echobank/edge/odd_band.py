"""The flag `odd_band` as a graph: what stands out of a window although its score may not say so (`machines.flags`)."""

import numpy as np

from echobank.edge.nodes import Graph
from echobank.machines.flags import LEAST_DB, Flags
from echobank.machines.swings import (
    BLOCK,
    BLOCKS,
    FEWEST,
    FRAME_SECONDS,
    QUIET,
    even_size,
    frame_window,
    mel_weights,
)
from echobank.models.logmel import FLOOR, MELS, mel_edges_hz

NAMES = ("odd_low_hz", "odd_high_hz", "odd_db")
_DB = 10 / np.log(10)


def odd_band(graph: Graph, samples: str, rate: int, flags: Flags | None, near: str) -> tuple[str, str, str]:
    """Return the edges in Hz of the band that stands out and by how many dB, float64[1] each; zeros for none.

    Args:
        graph: Where the nodes go.
        samples: Name of float32[T], a window at the encoder's rate.
        rate: That rate, Hz.
        flags: What raises the flag; None where the bank keeps nothing to raise it with.
        near: Name of the nearest row, int64[1].
    """
    none = graph.constant([0.0], np.float64)
    if flags is None:
        return none, none, none
    mean, low, most = _swings(graph, _blocks(graph, samples, rate))
    healthy = graph.cast(graph.add("Gather", graph.constant_of(flags.levels), near, axis=0), "float64")
    apart = graph.add("Sub", mean, healthy)
    overall = _median(graph, apart)
    whole = graph.add("Abs", graph.add("Sub", apart, overall))
    ways = graph.add("Concat", graph.add("Sub", most, low), whole, axis=0)
    least = graph.constant(LEAST_DB, np.float64)
    louder = graph.add("Max", overall, graph.constant(0.0, np.float64))
    up = graph.add("GreaterOrEqual", graph.add("Sub", graph.add("Sub", most, healthy), louder), least)
    beside = graph.add("GreaterOrEqual", graph.add("Min", whole, graph.add("Abs", apart)), least)
    moved = graph.add("Sub", ways, graph.constant(flags.swings.mean, np.float64))
    deviations = graph.add("Div", moved, graph.constant(flags.swings.spread, np.float64))
    odd = graph.add("Where", graph.add("Concat", up, beside, axis=0), deviations, graph.constant(0.0, np.float64))
    place = graph.add("TopK", graph.shape(odd, (-1,)), graph.constant([1], np.int64), results=2)
    raised = graph.add("Greater", place, graph.constant([flags.bands.threshold(flags.rate)], np.float64))
    way, peak = (graph.add(operation, f"{place}.1", graph.constant([MELS], np.int64)) for operation in ("Div", "Mod"))
    height = graph.shape(graph.add("Gather", ways, way, axis=0), (-1,))
    first, last = _around(graph, height, peak)
    edges = mel_edges_hz()
    signed = graph.add("Gather", graph.shape(apart, (-1,)), peak, axis=0)
    by_way = graph.add("Equal", way, graph.constant([0], np.int64))
    found = (
        graph.add("Gather", graph.constant(edges[:, 0], np.float64), first, axis=0),
        graph.add("Gather", graph.constant(edges[:, 2], np.float64), last, axis=0),
        graph.add("Where", by_way, graph.add("Gather", height, peak, axis=0), signed),
    )
    low_hz, high_hz, db = (graph.add("Where", raised, _rounded(graph, value), none) for value in found)
    return low_hz, high_hz, db


def _blocks(graph: Graph, samples: str, rate: int) -> str:
    """Return the level of each block and mel bin, float64[N, M], dB, as `swings.block_levels`.

    The transform of a frame is one convolution in float32, of the lines that a mel bin takes: it needs little memory.
    """
    size = even_size(FRAME_SECONDS, rate)
    wanted = graph.constant([size + (BLOCK - 1) * (size // 2)], np.int64)
    nothing = graph.constant([0], np.int64)
    short = graph.add("Max", graph.add("Sub", wanted, graph.length(samples)), nothing)
    padded = graph.add("Pad", samples, graph.add("Concat", nothing, short, axis=0))
    weights = mel_weights(rate, size)
    lines = np.flatnonzero(weights.any(axis=1))
    turns = frame_window(size) * np.exp(-2j * np.pi * (np.outer(lines, np.arange(size)) % size) / size)
    kernels = graph.constant(np.concatenate((turns.real, turns.imag))[:, None], np.float32)
    parts = graph.add("Conv", graph.shape(padded, (1, 1, -1)), kernels, strides=[size // 2])
    squares = graph.shape(graph.add("Mul", parts, parts), (2, len(lines), -1))
    power = graph.add("Transpose", graph.total(squares, 0), perm=[1, 0])
    block = graph.constant([BLOCK], np.int64)
    whole = graph.add("Mul", graph.add("Div", graph.length(power), block), block)
    means = graph.mean(graph.shape(graph.slice(power, 0, whole), (-1, BLOCK, len(lines))), 1)
    bins = graph.cast(graph.add("MatMul", means, graph.constant(weights[lines])), "float64")
    floored = graph.add("Max", bins, graph.constant(FLOOR, np.float64))
    return graph.add("Mul", graph.add("Log", floored), graph.constant(_DB, np.float64))


def _swings(graph: Graph, blocks: str) -> tuple[str, str, str]:
    """Return `mean`, `low` and `most` of blocks float64[N, M], float64[1, M] each, as `swings.swings_of`."""
    mean = graph.mean(blocks, 0, keep=True)
    spare = graph.add("Tile", mean, graph.constant([BLOCKS, 1], np.int64))  # so that nothing below is empty
    longer, one = graph.add("Concat", blocks, spare, axis=0), graph.constant([1], np.int64)
    count = graph.add("Sub", graph.length(blocks), graph.constant([BLOCKS - 1], np.int64))
    used = graph.add("Max", count, one)
    parts = [
        graph.slice(longer, shift, graph.add("Add", used, graph.constant([shift], np.int64))) for shift in range(BLOCKS)
    ]
    levels = graph.add("Div", graph.add("Sum", *parts), graph.constant(float(BLOCKS), np.float64))
    ordered = graph.add("TopK", levels, used, results=2, axis=0, largest=0)
    quiet = graph.add("Gather", ordered, graph.add("Div", used, graph.constant([QUIET], np.int64)), axis=0)
    enough = graph.add("GreaterOrEqual", count, graph.constant([FEWEST], np.int64))
    most = graph.add("ReduceMax", levels, axes=[0], keepdims=1)
    return mean, graph.add("Where", enough, quiet, mean), graph.add("Where", enough, most, mean)


def _median(graph: Graph, row: str) -> str:
    """Return the median of float64[1, M], float64[1, 1]."""
    ordered = graph.add("TopK", row, graph.constant([MELS], np.int64), results=2, axis=1, largest=0)
    return graph.mean(graph.slice(ordered, (MELS - 1) // 2, MELS // 2 + 1, axis=1), 1, keep=True)


def _around(graph: Graph, height: str, peak: str) -> tuple[str, str]:
    """Return the first and the last bin around a peak of float64[M] that reach half of it without a break, int64[1]."""
    order = graph.constant(np.arange(MELS), np.int64)
    half = graph.constant(0.5, np.float64)
    sizes = graph.add("Abs", height)
    outside = graph.add("Less", sizes, graph.add("Mul", graph.add("Gather", sizes, peak, axis=0), half))
    before = graph.add("And", outside, graph.add("Less", order, peak))
    behind = graph.add("And", outside, graph.add("Greater", order, peak))
    one = graph.constant([1], np.int64)
    lower = graph.add("ReduceMax", graph.add("Where", before, order, graph.constant(-1, np.int64)), axes=[0])
    upper = graph.add("ReduceMin", graph.add("Where", behind, order, graph.constant(MELS, np.int64)), axes=[0])
    return graph.add("Add", lower, one), graph.add("Sub", upper, one)


def _rounded(graph: Graph, value: str) -> str:
    """Return a number to one decimal."""
    ten = graph.constant(10.0, np.float64)
    return graph.add("Div", graph.add("Round", graph.add("Mul", value, ten)), ten)

"""Samples to frames and spectra, in float64: what the front ends of several encoders begin with."""

import numpy as np
from numpy.typing import NDArray

from echobank.edge.nodes import Graph
from echobank.models.logmel import FFT, FLOOR, FRAME, HOP, PRE_EMPHASIS, SHORTEST, mel_filters, povey_window

Float64 = NDArray[np.float64]

_END = int(np.iinfo(np.int64).max)
_INT16 = 32768.0


def repeated(graph: Graph, samples: str, least: int) -> str:
    """Return a clip that is repeated until it has `least` samples, as `models.logmel.audible` does."""
    count = graph.length(samples)
    wanted = graph.constant([least], np.int64)
    whole = graph.add("Sub", graph.add("Add", count, wanted), graph.constant([1], np.int64))
    tiled = graph.add("Tile", samples, graph.add("Div", whole, count))
    return graph.slice(tiled, 0, graph.add("Max", count, wanted))


def framed(graph: Graph, samples: str, size: int, hop: int) -> str:
    """Return frames [F, size] of samples [T], F = 1 + (T - size) // hop."""
    parts = -(-size // hop)
    padded = graph.add("Pad", samples, graph.constant([0, parts * hop - size], np.int64))
    step = graph.constant([hop], np.int64)
    whole = graph.add("Mul", graph.add("Div", graph.length(padded), step), step)
    blocks = graph.shape(graph.slice(padded, 0, whole), (-1, hop))
    if parts == 1:
        return graph.slice(blocks, 0, size, axis=1)
    frames = graph.add("Sub", graph.length(blocks), graph.constant([parts - 1], np.int64))
    rows = []
    for number in range(parts):
        end = graph.add("Add", frames, graph.constant([number], np.int64))
        rows.append(graph.slice(blocks, number, end))
    return graph.slice(graph.add("Concat", *rows, axis=1), 0, size, axis=1)


def power_spectra(graph: Graph, frames: str, tall: int, wide: int) -> tuple[str, NDArray[np.int64]]:
    """Return |X|^2 of frames float64[F, tall wide] as products of small matrices, and which line stands where.

    Cooley and Tukey's step (Mathematics of Computation 19, 1965): transforms of `tall` samples, a twist, transforms
    of `wide` samples, of which the upper half is left out.

    Returns:
        float64[F, L], and the FFT line of each of the L places.
    """
    size, kept = tall * wide, wide // 2 + 1
    grid = graph.shape(frames, (-1, tall, wide))
    first = _turns(np.outer(np.arange(tall), np.arange(tall)), tall)
    twist = _turns(np.outer(np.arange(tall), np.arange(wide)), size)
    second = _turns(np.outer(np.arange(wide), np.arange(kept)), wide)
    real, imaginary = (graph.add("MatMul", graph.constant(part), grid) for part in (first.real, first.imag))
    real, imaginary = _product(graph, "Mul", (real, imaginary), twist)
    real, imaginary = _product(graph, "MatMul", (real, imaginary), second)
    power = graph.add("Add", graph.add("Mul", real, real), graph.add("Mul", imaginary, imaginary))
    lines = np.arange(tall)[:, None] + tall * np.arange(kept)
    return graph.shape(power, (-1, tall * kept)), lines.ravel().astype(np.int64)


def logmel_of(graph: Graph, samples: str) -> str:
    """Return `models.logmel.logmel` of float32[T], float32[F, 128]; offset, pre-emphasis and window are one matrix."""
    heard = graph.cast(repeated(graph, samples, SHORTEST), "float64")
    frames = framed(graph, heard, FRAME, HOP)
    spectrum = graph.add("MatMul", frames, graph.constant(_front()))
    halves = [graph.slice(spectrum, start, start + FFT // 2, axis=1) for start in (0, FFT // 2)]
    squares = [graph.add("Mul", half, half) for half in halves]
    power = graph.add("MatMul", graph.add("Add", *squares), graph.constant(mel_filters()[:-1].astype(np.float64)))
    floored = graph.add("Max", power, graph.constant(float(FLOOR), np.float64))
    return graph.cast(graph.add("Log", floored), "float32")


def _front() -> Float64:
    """Return float64[400, 512]: a frame in [-1, 1] to real and imaginary parts of FFT lines 0 to 255."""
    centred = np.eye(FRAME) - 1 / FRAME
    before = np.eye(FRAME, k=-1)
    before[0, 0] = 1.0  # the first sample stands for the one before it
    shaped = _INT16 * povey_window().astype(np.float64)[:, None] * ((np.eye(FRAME) - PRE_EMPHASIS * before) @ centred)
    turns = _turns(np.outer(np.arange(FFT // 2), np.arange(FRAME)), FFT) @ shaped
    return np.concatenate([turns.real, turns.imag]).T


def _turns(products: NDArray[np.int64], size: int) -> NDArray[np.complex128]:
    return np.asarray(np.exp(-2j * np.pi * (products % size) / size))


def _product(graph: Graph, operation: str, x: tuple[str, str], by: NDArray[np.complex128]) -> tuple[str, str]:
    """Return real and imaginary part of a complex product."""
    real, imaginary = graph.constant(by.real), graph.constant(by.imag)
    return (
        graph.add("Sub", graph.add(operation, x[0], real), graph.add(operation, x[1], imaginary)),
        graph.add("Add", graph.add(operation, x[0], imaginary), graph.add(operation, x[1], real)),
    )

"""Swings: how far each mel bin of a window rises above the level that it has otherwise.

A sound that comes and goes within a window, a whine, a squeal, a hiss, is measured against the rest of the same window,
so that a speed or load that the bank never heard does not hide it. At the encoder's rate: frames of 32 ms, each half a
frame after the last, under a Hann window (`even_size` samples), their power in the 128 mel bins of `models.logmel`, the
mean power of three frames in dB, and the mean of four such blocks, 0.19 s, every 48 ms. A rise is the largest of these
levels above the one that a quarter of them lie below, so that a sound may last for most of the window.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from echobank.models.encoder import Float32
from echobank.models.logmel import FLOOR, mel_edges_hz, mel_of, powers

FRAME_SECONDS = 0.032
BLOCK = 3  # frames
BLOCKS = 4  # blocks that a level is the mean of
QUIET = 4  # one level in so many lies below the one that a rise is measured from
FEWEST = 8  # levels; a shorter window has no rest to compare with
_FULL_SCALE = np.float32(32768.0)  # as `models.logmel`


@dataclass(frozen=True)
class Swings:
    """What the bins of a window do, each array float32[M].

    Attributes:
        mean: Mean level of the blocks, dB.
        low: The level that a quarter of the levels lie below, dB.
        most: Largest level, dB.
        start: Where the stretch around it begins that is above the middle between `low` and `most`, seconds.
        end: Where that ends.
    """

    mean: Float32
    low: Float32
    most: Float32
    start: Float32
    end: Float32

    @property
    def kept(self) -> Float32:
        """What a bank keeps: `mean`, `low` and `most`, float32[3, M]."""
        kept: Float32 = np.stack((self.mean, self.low, self.most))
        return kept


ROWS = 5  # of `as_array`


def swings_of(samples: Float32, rate: int) -> Swings:
    """Return the swings of a window float32[T] at the encoder's rate, Hz."""
    blocks = block_levels(samples, rate)
    mean, levels = blocks.mean(axis=0), _levels(blocks)
    count = len(levels)
    if count < FEWEST:
        return Swings(mean, mean, mean, np.zeros_like(mean), np.zeros_like(mean))
    ordered = np.sort(levels, axis=0)  # quicker than a partition
    low, most = ordered[count // QUIET], ordered[-1]
    start, end = _stretch(levels >= (low + most) / 2, levels.argmax(axis=0), even_size(FRAME_SECONDS, rate) / 2 / rate)
    end[end < 0] = len(samples) / rate
    return Swings(mean, low, most, start, end)


def as_array(swings: Swings) -> Float32:
    """Return swings as one array, float32[ROWS, M]."""
    array: Float32 = np.stack((swings.mean, swings.low, swings.most, swings.start, swings.end))
    return array


def from_array(array: Float32) -> Swings:
    """Return the swings that `as_array` made an array of."""
    return Swings(*array)


def block_levels(samples: Float32, rate: int) -> Float32:
    """Return the level of each block and mel bin, float32[N, M], dB; of a very short window one block of what is there.

    Args:
        samples: float32[T].
        rate: Hz.
    """
    size = even_size(FRAME_SECONDS, rate)
    hop = size // 2
    if len(samples) < size + (BLOCK - 1) * hop:
        samples = np.pad(samples, (0, size + (BLOCK - 1) * hop - len(samples)))
    frames = np.lib.stride_tricks.sliding_window_view(samples, size)[::hop]
    frames = frames[: len(frames) // BLOCK * BLOCK]
    power = powers(frames, frame_window(size)).reshape(-1, BLOCK, size // 2 + 1)
    blocks = power.mean(axis=1) @ mel_weights(rate, size)
    levels: Float32 = np.float32(10.0) * np.log10(np.maximum(blocks, FLOOR))
    return levels


def even_size(seconds: float, rate: int) -> int:
    """Return the least even number of samples that lasts so long and has no prime factor above 5: quick transforms."""
    size = 2 * -(-round(seconds * rate) // 2)
    while True:
        rest = size
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return size
        size += 2


@lru_cache(maxsize=4)
def frame_window(size: int) -> Float32:
    """Return a Hann window times the full scale of 16 bits, so that levels have the scale of log-mel power."""
    window: Float32 = (np.hanning(size + 2)[1:-1] * _FULL_SCALE).astype(np.float32)
    return window


@lru_cache(maxsize=4)
def mel_weights(rate: int, length: int) -> Float32:
    """Return the mel filters of `models.logmel` for the lines of a transform, float32[length // 2 + 1, M]."""
    low, middle, high = mel_of(mel_edges_hz()).T
    lines = mel_of(np.arange(length // 2 + 1, dtype=np.float64) * (rate / length))[:, None]
    weights = np.minimum((lines - low) / (middle - low), (high - lines) / (high - middle))
    filters: Float32 = np.maximum(weights, 0).astype(np.float32)
    return filters


def _levels(blocks: Float32) -> Float32:
    """Return the mean of every four blocks in a row, float32[L, M]."""
    levels: Float32 = blocks[: max(0, len(blocks) - BLOCKS + 1)] / np.float32(BLOCKS)
    for shift in range(1, BLOCKS):
        levels += blocks[shift : shift + len(levels)] / np.float32(BLOCKS)
    return levels


def _stretch(inside: NDArray[np.bool_], at: NDArray[np.int64], hop: float) -> tuple[Float32, Float32]:
    """Return where the unbroken stretch around a level begins and ends in each bin, seconds, float32[M] each.

    It begins at 0 where it reaches the first level, and ends at -1 where it reaches the last.

    Args:
        inside: Whether each level of each bin is part of a stretch, bool[L, M].
        at: The level, int64[M].
        hop: Seconds between frames.
    """
    count = len(inside)
    order = np.arange(count, dtype=np.int16)[:, None]
    before = np.where(inside | (order > at), np.int16(-1), order).max(axis=0)
    after = np.where(inside | (order < at), np.int16(count), order).min(axis=0)
    middle = (BLOCK * BLOCKS + 1) / 2 * hop  # of what the first level is the mean of
    start, end = ((edge * (BLOCK * hop) + middle).astype(np.float32) for edge in (before + 0.5, after - 0.5))
    start[before < 0] = 0.0
    end[after == count] = -1.0
    return start, end

"""SoundNet-8 up to conv5 (Aytar, Vondrick, Torralba, NIPS 2016; MIT): a small encoder in plain numpy.

Every constant of the network is from the paper's table of layers and the published weights file. It needs no torch:
five matrix products over overlapping windows, in blocks, so that memory does not grow with the clip.

The folded batch normalisation leaves sums of large terms that nearly cancel, above all in quiet sound. So the second
convolution is summed around the mean of each channel and in short pieces, and those behind it in float64: rounding
then comes to a few 1e-8 of an embedding instead of 1e-6, at the same speed, and any exact evaluation gives the same.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echobank.errors import ConfigError, WeightsError
from echobank.models.encoder import EncoderFacts, Float32
from echobank.models.logmel import audible

Real = NDArray[np.floating[Any]]

NAME = "soundnet"
SAMPLE_RATE = 22050
SCALE = np.float32(256.0)  # samples run from -256 to 256
STRIDE = 2
EPSILON = 1e-5  # of the batch normalisation
POOL_5, POOL_5_STRIDE = 4, 2
SHORTEST = 17438  # samples for one frame after pool5, 0.79 s
HOP = 4096  # samples between frames after pool5
CONTENT_SHA256 = (
    "b082df71f5a4a66873360b07a359fe6218440167dc40851b99b3fc7b83d43c8f"  # of the tensors, in the order below
)
_BLOCK = 1024  # windows a matrix product; a multiple of every pool, small enough for the second-level cache
_GROUP = 4  # outputs of the first convolution that are one product: 16 columns alone leave the processor idle
_SUMMED = 64  # products that are added up in float32 at a time


@dataclass(frozen=True)
class Shape:
    """One convolution: window in frames, channels in and out, width of the max-pool behind it (1: none)."""

    kernel: int
    channels_in: int
    channels_out: int
    pool: int


SHAPES = (Shape(64, 1, 16, 8), Shape(32, 16, 32, 8), Shape(16, 32, 64, 1), Shape(8, 64, 128, 1), Shape(4, 128, 256, 1))
PARTS = ("weights", "biases", "mean", "var", "gamma", "beta")


@dataclass(frozen=True)
class Folded:
    """A convolution with its batch normalisation folded in.

    Attributes:
        weight: float32[kernel * in, out].
        bias: float32[out].
        channels: in.
        pool: Width of the max-pool behind it.
        matrix: The weights of `group` outputs side by side, float32 or float64[.., group * out].
        group: Outputs per row of the product; a divisor of `pool`.
        centred: Whether the product is of what is left around the mean of each channel, and in float32 pieces.
    """

    weight: Float32
    bias: Float32
    channels: int
    pool: int
    matrix: Real
    group: int = 1
    centred: bool = False

    def __call__(self, x: Real) -> Real:
        """Return [T', out] of [T, in]: convolution, ReLU, max-pool, none of them padded."""
        if not self.centred:
            return self._pooled(np.asarray(x, self.matrix.dtype), self.bias)
        means = np.asarray(x.mean(axis=0), np.float32)  # any centre does; a nearer one leaves less to round
        weight = self.weight.reshape(-1, self.channels, len(self.bias)).sum(axis=0, dtype=np.float64)
        bias = self.bias + means.astype(np.float64) @ weight
        return self._pooled(np.asarray(x - means, np.float32), bias)

    def _pooled(self, x: Real, bias: Real) -> Real:
        step, size, channels = self.group * STRIDE * self.channels, len(self.matrix), len(bias)
        flat = np.ascontiguousarray(x).reshape(-1)
        count = ((len(flat) - size) // step + 1) * self.group // self.pool * self.pool
        shape, strides = (count // self.group, size), (step * flat.itemsize, flat.itemsize)
        windows = np.lib.stride_tricks.as_strided(flat, shape, strides, writeable=False)
        out = np.empty((count // self.pool, channels), np.result_type(self.matrix, bias))
        for start in range(0, len(windows), _BLOCK):
            pooled = self._product(np.ascontiguousarray(windows[start : start + _BLOCK]))
            for width in _halves(self.pool):  # the larger half of each window, which is quicker than a maximum over it
                pooled = pooled.reshape(-1, 2 * width * channels)
                pooled = np.maximum(pooled[:, : width * channels], pooled[:, width * channels :])
            pooled = pooled.reshape(-1, channels)
            part = out[start * self.group // self.pool :][: len(pooled)]
            np.add(pooled, bias, out=part)
            np.maximum(part, 0, out=part)
        return out

    def _product(self, block: Real) -> Real:
        if not self.centred:
            return block @ self.matrix
        whole = block[:, :_SUMMED] @ self.matrix[:_SUMMED]
        part = np.empty_like(whole)
        for start in range(_SUMMED, len(self.matrix), _SUMMED):
            piece = slice(start, start + _SUMMED)
            whole += np.matmul(block[:, piece], self.matrix[piece], out=part)
        return whole


def _halves(pool: int) -> list[int]:
    """Return pool / 2, pool / 4 and so on to 1, for a power of 2."""
    return [pool >> power for power in range(1, pool.bit_length())]


class SoundNet:
    """The encoder; layers 1 to 5 are pool1, pool2, conv3, conv4 and pool5, of 16 to 256 channels."""

    band_edges_hz: NDArray[np.float64] = np.array([[0.0, SAMPLE_RATE / 2]])

    def __init__(self, tensors: Mapping[str, NDArray[np.float32]], weights_sha256: str) -> None:
        """Fold the batch normalisation into the weights.

        Args:
            tensors: As `check_tensors` takes them.
            weights_sha256: What the facts say.

        Raises:
            WeightsError: As `check_tensors`.
        """
        check_tensors(tensors)
        self._layers = [_fold(tensors, number, shape) for number, shape in enumerate(SHAPES, start=1)]
        self.facts = EncoderFacts(
            name=NAME,
            weights_sha256=weights_sha256,
            sample_rate=SAMPLE_RATE,
            front_end="",
            dimension=SHAPES[-1].channels_out,
            bands=1,
            layers=len(SHAPES),
            engine="numpy",
            token_seconds=HOP / SAMPLE_RATE,
        )

    @property
    def folded(self) -> Sequence[Folded]:
        """The convolutions, with their batch normalisation in weights and biases."""
        return tuple(self._layers)

    def tokens(self, waveforms: Sequence[Float32], layer: int | None = None) -> list[Float32]:
        """Return float32[Pt, 1, D] per clip, each on its own, so that nothing depends on the batch.

        Raises:
            AudioError: A clip without samples, or with one that is not a number.
            ConfigError: A layer other than 1 to 5.
        """
        last = len(SHAPES) if layer is None else layer
        if not 1 <= last <= len(SHAPES):
            raise ConfigError(f"{NAME} has layers 1 to {len(SHAPES)}", value=layer, hint="null takes the last")
        return [self._encode(waveform, last)[:, None, :] for waveform in waveforms]

    def _encode(self, waveform: Float32, last: int) -> Float32:
        x: Real = (audible(waveform, SHORTEST) * SCALE)[:, None]
        for apply in self._layers[:last]:
            x = apply(x)
        if last == len(SHAPES):
            frames = (len(x) - POOL_5) // POOL_5_STRIDE + 1
            x = reduce(np.maximum, [x[shift:][::POOL_5_STRIDE][:frames] for shift in range(POOL_5)])
        return x.astype(np.float32)


def check_tensors(tensors: Mapping[str, NDArray[np.float32]]) -> None:
    """Refuse anything but the published trunk: `conv1.weights` [kernel, 1, in, out], `conv1.biases` [out] and so on.

    Raises:
        WeightsError: A tensor is missing, or of another shape or type, or holds other numbers.
    """
    digest = hashlib.sha256()
    for number, shape in enumerate(SHAPES, start=1):
        for part in PARTS:
            name = f"conv{number}.{part}"
            wide = (shape.kernel, 1, shape.channels_in, shape.channels_out)
            expected = wide if part == "weights" else wide[-1:]
            found = tensors.get(name)
            if found is None or found.shape != expected or found.dtype != np.float32:
                value = None if found is None else f"{found.dtype}{list(found.shape)}"
                raise WeightsError(f"{name} must be float32{list(expected)} in weights of {NAME}", value=value)
            digest.update(np.ascontiguousarray(found, "<f4").tobytes())
    if digest.hexdigest() != CONTENT_SHA256:
        raise WeightsError(f"not the published numbers of {NAME}", hint="remove the file and fetch it again")


def _fold(tensors: Mapping[str, NDArray[np.float32]], number: int, shape: Shape) -> Folded:
    weights, biases, mean, var, gamma, beta = (tensors[f"conv{number}.{part}"].astype(np.float64) for part in PARTS)
    scale = gamma / np.sqrt(var + EPSILON)
    weight = weights.reshape(shape.kernel * shape.channels_in, shape.channels_out) * scale
    bias = (biases - mean) * scale + beta
    single, step = weight.astype(np.float32), STRIDE * shape.channels_in
    made = single, bias.astype(np.float32), shape.channels_in, shape.pool
    if number > 2:
        return Folded(*made, matrix=single.astype(np.float64))
    if number == 2:
        return Folded(*made, matrix=single, centred=True)
    rest = (_GROUP - 1) * step
    shifted = [np.pad(single, ((step * place, rest - step * place), (0, 0))) for place in range(_GROUP)]
    return Folded(*made, matrix=np.ascontiguousarray(np.concatenate(shifted, axis=1)), group=_GROUP)

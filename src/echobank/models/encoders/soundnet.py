"""SoundNet-8 up to conv5 (Aytar, Vondrick, Torralba, NIPS 2016; MIT): a small encoder in plain numpy.

Every constant of the network is from the paper's table of layers and the published weights file. It needs no torch:
five matrix products over overlapping windows, in blocks, so that memory does not grow with the clip.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from echobank.errors import ConfigError, WeightsError
from echobank.models.encoder import EncoderFacts, Float32
from echobank.models.logmel import audible

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
class _Layer:
    """A convolution with its batch normalisation folded in: float32[kernel * in, out], float32[out]."""

    weight: Float32
    bias: Float32
    pool: int

    def __call__(self, x: Float32) -> Float32:
        """Return float32[T', out] of float32[T, in]: convolution, ReLU, max-pool, none of them padded."""
        step, size, channels = STRIDE * x.shape[1], len(self.weight), len(self.bias)
        flat = np.ascontiguousarray(x).reshape(-1)
        count = ((len(flat) - size) // step + 1) // self.pool * self.pool
        strides = (step * flat.itemsize, flat.itemsize)
        windows = np.lib.stride_tricks.as_strided(flat, (count, size), strides, writeable=False)
        out = np.empty((count // self.pool, channels), np.float32)
        products = np.empty((min(_BLOCK, count), channels), np.float32)
        for start in range(0, count, _BLOCK):
            block = np.ascontiguousarray(windows[start : start + _BLOCK])
            pooled = np.matmul(block, self.weight, out=products[: len(block)])
            for width in _halves(self.pool):  # the larger half of each window, which is quicker than a maximum over it
                pooled = pooled.reshape(-1, 2 * width * channels)
                pooled = np.maximum(pooled[:, : width * channels], pooled[:, width * channels :])
            part = out[start // self.pool :][: len(block) // self.pool]
            np.add(pooled.reshape(-1, channels), self.bias, out=part)
            np.maximum(part, 0, out=part)
        return out


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
    def folded(self) -> "Sequence[_Layer]":
        """The convolutions, with their batch normalisation in weights and biases."""
        return tuple(self._layers)

    def tokens(self, waveforms: Sequence[Float32], layer: int | None = None) -> list[Float32]:
        """Return float32[Pt, 1, D] a clip, each on its own, so that nothing depends on the batch.

        Raises:
            AudioError: A clip without samples, or with one that is not a number.
            ConfigError: A layer other than 1 to 5.
        """
        last = len(SHAPES) if layer is None else layer
        if not 1 <= last <= len(SHAPES):
            raise ConfigError(f"{NAME} has layers 1 to {len(SHAPES)}", value=layer, hint="null takes the last")
        return [self._encode(waveform, last)[:, None, :] for waveform in waveforms]

    def _encode(self, waveform: Float32, last: int) -> Float32:
        x = (audible(waveform, SHORTEST) * SCALE)[:, None]
        for apply in self._layers[:last]:
            x = apply(x)
        if last < len(SHAPES):
            return x
        frames = (len(x) - POOL_5) // POOL_5_STRIDE + 1
        shifted = [x[shift:][::POOL_5_STRIDE][:frames] for shift in range(POOL_5)]
        return np.asarray(reduce(np.maximum, shifted))


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


def _fold(tensors: Mapping[str, NDArray[np.float32]], number: int, shape: Shape) -> _Layer:
    weights, biases, mean, var, gamma, beta = (tensors[f"conv{number}.{part}"].astype(np.float64) for part in PARTS)
    scale = gamma / np.sqrt(var + EPSILON)
    weight = weights.reshape(shape.kernel * shape.channels_in, shape.channels_out) * scale
    bias = (biases - mean) * scale + beta
    return _Layer(weight.astype(np.float32), bias.astype(np.float32), shape.pool)

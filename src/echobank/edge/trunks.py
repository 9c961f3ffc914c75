"""Encoders as graphs: samples at the encoder's rate to its tokens, one function per kind of encoder."""

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from echobank.edge.framing import framed, logmel_of, power_spectra, repeated
from echobank.edge.nodes import OPSET, Graph
from echobank.errors import ConfigError
from echobank.models.encoder import Encoder
from echobank.models.encoders import level, soundnet, spectrum
from echobank.models.encoders.level import Level
from echobank.models.encoders.logmel_stats import PATCH, LogmelStats
from echobank.models.encoders.onnx_encoder import OnnxEncoder
from echobank.models.encoders.soundnet import SoundNet
from echobank.models.encoders.spectrum import Spectrum
from echobank.models.logmel import MELS, SAMPLE_RATE, SHORTEST

GOES = "soundnet, level, spectrum, logmel_stats, BEATs, onnx:FILE, and several of them joined by +"
_DB = 10 / np.log(10)


@dataclass(frozen=True)
class HeardSound:
    """A clip in a graph.

    Attributes:
        samples: Name of float32[T] at the encoder's rate.
        source: Name of float32[S], the same stretch of the recording at its own rate.
        source_rate: That rate, Hz.
    """

    samples: str
    source: str
    source_rate: int


def tokens_of(graph: Graph, heard: HeardSound, encoder: Encoder, layer: int | None, int8: bool = False) -> str:
    """Return the tokens float32[Pt, Pf, D] of a clip; `int8` is for BEATs and changes no other encoder.

    Raises:
        ConfigError: The encoder, or its precision, has no graph.
    """
    facts = encoder.facts
    if facts.precision not in ("fp32", "int8"):
        raise ConfigError("only an encoder in fp32 can be exported", value=f"{facts.name}, {facts.precision}")
    kinds: tuple[tuple[type, Callable[..., str]], ...] = (
        (SoundNet, _soundnet),
        (Spectrum, _spectrum),
        (LogmelStats, _logmel_stats),
        (OnnxEncoder, _onnx),
    )
    if isinstance(encoder, Level):
        return _level(graph, heard, encoder)
    samples = heard.samples
    for kind, make in kinds:
        if isinstance(encoder, kind):
            return make(graph, samples, encoder, layer)
    if facts.engine == "torch":
        return _beats(graph, samples, encoder, layer, int8)
    raise ConfigError("this encoder has no graph", value=facts.name, hint=f"these can be exported: {GOES}")


def _soundnet(graph: Graph, samples: str, encoder: SoundNet, layer: int | None) -> str:
    heard = repeated(graph, samples, soundnet.SHORTEST)
    last = layer or len(soundnet.SHAPES)
    first, second, *others = encoder.folded
    scaled = replace(first, weight=first.weight * soundnet.SCALE)  # by a power of 2: no digit is lost
    bias = graph.constant(first.bias[:, None])
    x = graph.add("Relu", graph.add("Add", _convolved(graph, graph.shape(heard, (1, -1)), scaled), bias))
    x = _around_means(graph, x, second) if last > 1 else graph.add("Transpose", x, perm=[1, 0])
    for number, folded in enumerate(others, start=3):
        x = _exact(graph, x, folded) if number <= last else x
    x = graph.add("Unsqueeze", graph.cast(x, "float32"), graph.constant([1], np.int64))
    if last < len(soundnet.SHAPES):
        return x
    channels = graph.add("Transpose", x, perm=[1, 2, 0])
    pooled = graph.add("MaxPool", channels, kernel_shape=[soundnet.POOL_5], strides=[soundnet.POOL_5_STRIDE])
    return graph.add("Transpose", pooled, perm=[2, 0, 1])


def _convolved(graph: Graph, x: str, folded: soundnet.Folded) -> str:
    """Return the max-pooled convolution float32[out, T'] of float32[in, T], without its bias."""
    batch = graph.constant([0], np.int64)
    weight = folded.weight.reshape(len(folded.weight) // folded.channels, folded.channels, -1).transpose(2, 1, 0)
    convolved = graph.add("Conv", graph.add("Unsqueeze", x, batch), graph.constant(weight), strides=[soundnet.STRIDE])
    pooled = graph.add("MaxPool", convolved, kernel_shape=[folded.pool], strides=[folded.pool])
    return graph.add("Squeeze", pooled, batch)


def _around_means(graph: Graph, x: str, folded: soundnet.Folded) -> str:
    """Return the second layer float64[T', out] of float32[in, T]: what moves around the means, and they."""
    means = graph.mean(x, 1, keep=True)
    moved = graph.add("Transpose", _convolved(graph, graph.add("Sub", x, means), folded), perm=[1, 0])
    weight = folded.weight.astype(np.float64).reshape(-1, folded.channels, len(folded.bias)).sum(axis=0)
    row = graph.cast(graph.add("Transpose", means, perm=[1, 0]), "float64")
    bias = graph.add("Add", graph.add("MatMul", row, graph.constant(weight)), graph.constant(folded.bias, np.float64))
    return graph.add("Relu", graph.add("Add", graph.cast(moved, "float64"), bias))


def _exact(graph: Graph, x: str, folded: soundnet.Folded) -> str:
    """Return a layer without pool, float64[T', out] of float64[T, in]."""
    frames = framed(graph, graph.shape(x, (-1,)), len(folded.weight), soundnet.STRIDE * folded.channels)
    product = graph.add("MatMul", frames, graph.constant(folded.matrix))
    return graph.add("Relu", graph.add("Add", product, graph.constant(folded.bias, np.float64)))


def _decibels(graph: Graph, power: str) -> str:
    floored = graph.add("Max", power, graph.constant(10 ** (level.FLOOR_DB / 10), np.float64))
    return graph.add("Mul", graph.add("Log", floored), graph.constant(_DB, np.float64))


def _level(graph: Graph, heard: HeardSound, encoder: Level) -> str:
    quantities = {
        "level": _rms,
        "level_crest": _crest,
        "level_kurtosis": _kurtosis,
        "level_percentiles": _percentiles,
        "level_flatness": _flatness,
    }
    name = encoder.facts.name
    if name not in quantities:
        hint = f"of this kind, {', '.join(quantities)} can be exported"
        raise ConfigError("this encoder has no graph", value=name, hint=hint)
    frame = heard.source_rate // level.FRAMES_PER_SECOND
    measured = quantities[name](graph, graph.cast(heard.source, "float64"), frame)
    return graph.cast(graph.shape(measured, (1, 1, encoder.facts.dimension)), "float32")


def _rms(graph: Graph, x: str, size: int) -> str:
    return _decibels(graph, graph.mean(graph.add("Mul", x, x), 0))


def _ratio(graph: Graph, above: str, below: str) -> str:
    """Return the decibels of a ratio, of 1 where its divisor is 0."""
    zero, one = graph.constant(0.0, np.float64), graph.constant(1.0, np.float64)
    positive = graph.add("Greater", below, zero)
    divided = graph.add("Div", above, graph.add("Where", positive, below, one))
    return _decibels(graph, graph.add("Where", positive, divided, one))


def _crest(graph: Graph, x: str, size: int) -> str:
    squares = graph.add("Mul", x, x)
    return _ratio(graph, graph.add("ReduceMax", squares, axes=[0], keepdims=0), graph.mean(squares, 0))


def _kurtosis(graph: Graph, x: str, size: int) -> str:
    moved = graph.add("Sub", x, graph.mean(x, 0))
    squares = graph.add("Mul", moved, moved)
    variance = graph.mean(squares, 0)
    fourth = graph.mean(graph.add("Mul", squares, squares), 0)
    return _ratio(graph, fourth, graph.add("Mul", variance, variance))


def _percentiles(graph: Graph, x: str, size: int) -> str:
    frames = framed(graph, x, size, size)
    levels = _decibels(graph, graph.mean(graph.add("Mul", frames, frames), 1))
    count = graph.length(levels)
    ordered = graph.add("TopK", levels, count, results=2, largest=0)
    last = graph.cast(graph.add("Sub", count, graph.constant([1], np.int64)), "float64")
    places = graph.add("Mul", last, graph.constant([0.9, 0.5, 0.1], np.float64))
    below = graph.add("Floor", places)
    share = graph.add("Sub", places, below)
    ends = [
        graph.add("Gather", ordered, graph.cast(place, "int64"), axis=0) for place in (below, graph.add("Ceil", places))
    ]
    return graph.add("Add", ends[0], graph.add("Mul", graph.add("Sub", ends[1], ends[0]), share))


def _flatness(graph: Graph, x: str, size: int) -> str:
    frames = framed(graph, repeated(graph, x, size), size, size // 2)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    spectra, lines = power_spectra(graph, graph.add("Mul", frames, graph.constant(hann)), *_factors(size))
    wanted = np.argsort(lines, kind="stable")[1 : size // 2 + 1]
    power = graph.add("Gather", graph.mean(spectra, 0), graph.constant(wanted, np.int64), axis=0)
    largest = graph.add("ReduceMax", power, axes=[0], keepdims=0)
    one = graph.constant(1.0, np.float64)
    heard = graph.add("Greater", largest, graph.constant(0.0, np.float64))
    relative = graph.add("Div", power, graph.add("Where", heard, largest, one))
    flat = graph.add("Sub", graph.mean(_decibels(graph, relative), 0), _decibels(graph, graph.mean(relative, 0)))
    return graph.add("Where", heard, flat, graph.constant(0.0, np.float64))


def _factors(size: int) -> tuple[int, int]:
    """Return two factors, as near each other as there are."""
    tall = next(number for number in range(int(size**0.5), 0, -1) if size % number == 0)
    return tall, size // tall


def _spectrum(graph: Graph, samples: str, encoder: Spectrum, layer: int | None) -> str:
    size = spectrum.WINDOW
    heard = graph.cast(repeated(graph, samples, size), "float64")
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    frames = graph.add("Mul", framed(graph, heard, size, spectrum.HOP), graph.constant(hann))
    power, lines = power_spectra(graph, frames, 125, 128)
    place = np.empty(size, np.int64)
    place[lines] = np.arange(len(lines))
    shares = spectrum.shares(encoder.facts.name) * (2 / (SAMPLE_RATE * (hann**2).sum()) / spectrum.FLOOR)
    most = int((shares > 0).sum(axis=0).max())
    first = np.minimum((shares > 0).argmax(axis=0), len(shares) - most)
    near = first[:, None] + np.arange(most)  # the lines that each band takes, all others have no share in it
    weights = np.take_along_axis(shares, near.T, axis=0).T
    taken = graph.add("Gather", power, graph.constant(place[near]), axis=1)
    above = graph.total(graph.add("Mul", taken, graph.constant(weights)), 2)
    whole = graph.add("Log", graph.add("Add", above, graph.constant(1.0, np.float64)))
    tokens = graph.cast(graph.add("Mul", whole, graph.constant(_DB, np.float64)), "float32")
    return graph.shape(tokens, (-1, 1, encoder.facts.dimension))


def _logmel_stats(graph: Graph, samples: str, encoder: LogmelStats, layer: int | None) -> str:
    x = graph.cast(logmel_of(graph, samples), "float64")
    moved = graph.add("Sub", x, graph.mean(x, 0, keep=True))
    squares = graph.add("Mul", moved, moved)
    deviation = graph.add("Sqrt", graph.mean(squares, 0, keep=True))
    zero, one = graph.constant(0.0, np.float64), graph.constant(1.0, np.float64)
    positive = graph.add("Greater", deviation, zero)
    spread = graph.add("Div", squares, graph.add("Where", positive, deviation, one))
    both = graph.add("Concat", x, graph.add("Where", positive, spread, zero), axis=1)
    frames, patch = graph.length(both), graph.constant([PATCH], np.int64)
    patches = graph.add("Div", frames, patch)
    whole = graph.add("Mul", patches, patch)
    sums = graph.total(graph.shape(graph.slice(both, 0, whole), (-1, PATCH, 2 * MELS)), 1)
    rest = graph.total(graph.slice(both, whole, int(np.iinfo(np.int64).max)), 0, keep=True)
    before = graph.add("Sub", patches, graph.constant([1], np.int64))
    end = graph.slice(sums, before, int(np.iinfo(np.int64).max))
    summed = graph.add("Concat", graph.slice(sums, 0, before), graph.add("Add", end, rest), axis=0)
    weight = graph.add("Div", graph.cast(patches, "float64"), graph.cast(frames, "float64"))
    return graph.shape(graph.cast(graph.add("Mul", summed, weight), "float32"), (-1, 1, 2 * MELS))


def _onnx(graph: Graph, samples: str, encoder: OnnxEncoder, layer: int | None) -> str:
    model = _model(Path(encoder.file), encoder.facts.weights_sha256)
    sidecar = encoder.sidecar
    taken = sidecar.layers[-1 if layer is None else layer - 1]
    least = max(1, round(sidecar.shortest_seconds * sidecar.sample_rate))
    if sidecar.front_end:
        fed, words = logmel_of(graph, repeated(graph, samples, max(SHORTEST, least))), ["time", "mel"]
    else:
        fed, words = repeated(graph, samples, least), ["time"]
    fed = _arranged(graph, fed, words, sidecar.input.axes.split())
    out = graph.inline(model, fed, taken.output)
    axes = taken.axes.split()
    ones = [place for place, word in enumerate(axes) if word in ("1", "batch")]
    plain = graph.add("Squeeze", out, graph.constant(ones, np.int64)) if ones else out
    kept = [word for word in axes if word not in ("1", "batch")]
    return _arranged(graph, plain, kept, [word if word in kept else "1" for word in ("time", "band", "dimension")])


def _beats(graph: Graph, samples: str, encoder: Any, layer: int | None, int8: bool) -> str:
    from echobank.models.beats.onnx_export import export_onnx  # torch

    with tempfile.TemporaryDirectory() as folder:
        made = export_onnx(encoder, folder, layer=layer, int8=int8)
        model = _model(made, "")
    frames = logmel_of(graph, samples)
    tokens = graph.inline(model, graph.add("Unsqueeze", frames, graph.constant([0], np.int64)), "tokens")
    return graph.add("Squeeze", tokens, graph.constant([0], np.int64))


def _model(path: Path, sha256: str) -> Any:
    """Return an ONNX model in the operations of `OPSET`; the file must still be the one with that hash, if any."""
    import onnx

    content = path.read_bytes()
    if sha256 and hashlib.sha256(content).hexdigest() != sha256:
        raise ConfigError("the encoder's file has changed", value=str(path), hint="fit again")
    model = onnx.load_from_string(content)
    versions = {item.domain: item.version for item in model.opset_import}
    others = [domain for domain in versions if domain not in ("", "ai.onnx")]
    if others:
        raise ConfigError("the encoder's graph has operations that not every device knows", value=", ".join(others))
    if versions.get("", versions.get("ai.onnx")) != OPSET:
        import onnx.version_converter

        model = onnx.version_converter.convert_version(model, OPSET)
    return model


def _arranged(graph: Graph, x: str, names: list[str], wanted: list[str]) -> str:
    """Return the axes `names` in the order `wanted`, where other words are new axes of size 1."""
    order = [names.index(word) for word in wanted if word in names]
    moved = graph.add("Transpose", x, perm=order) if order != sorted(order) else x
    new = [place for place, word in enumerate(wanted) if word not in names]
    return graph.add("Unsqueeze", moved, graph.constant(new, np.int64)) if new else moved

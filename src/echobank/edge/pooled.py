"""Pooling as a graph: tokens to one vector per clip or band, in float64, rounded to float32 as in a bank."""

from dataclasses import replace

import numpy as np

from echobank.edge.nodes import Graph
from echobank.edge.polyphase import resample_whole
from echobank.edge.trunks import HeardSound, tokens_of
from echobank.errors import ConfigError
from echobank.models.encoder import Encoder, hears_source
from echobank.models.encoders.joined import JoinedEncoder
from echobank.models.encoders.level import Level
from echobank.models.pooling import Pooling

GOES = ("mean", "max", "gem", "rdp", "rdp_gem")


def embedded(
    graph: Graph, heard: HeardSound, encoder: Encoder, pooling: Pooling, layer: int | None, int8: bool = False
) -> str:
    """Return the embedding float32[H, D] of a clip.

    Raises:
        ConfigError: The encoder or the pooling has no graph, or `int8` is asked for and none of it is BEATs.
    """
    parts = encoder.parts if isinstance(encoder, JoinedEncoder) else (encoder,)
    if int8 and not any(part.facts.engine == "torch" for part in parts):
        raise ConfigError("--int8 is for BEATs", value=encoder.facts.name)
    if not isinstance(encoder, JoinedEncoder):
        whole = isinstance(encoder, Level)
        tokens = tokens_of(graph, heard, encoder, layer, int8)
        return graph.shape(tokens, (1, encoder.facts.dimension)) if whole else pooled(graph, tokens, pooling)
    rates = {part.facts.sample_rate for part in encoder.parts if not hears_source(part)}
    at = {rate: resample_whole(graph, heard.samples, encoder.facts.sample_rate, rate) for rate in sorted(rates)}
    slices = []
    for part in encoder.parts:
        samples = at.get(part.facts.sample_rate, heard.samples)
        tokens = tokens_of(graph, replace(heard, samples=samples), part, None, int8)
        whole = part.facts.token_seconds == 0
        slices.append(graph.shape(tokens if whole else pooled(graph, tokens, pooling), (1, -1)))
    return graph.add("Concat", *slices, axis=1)


def pooled(graph: Graph, tokens: str, pooling: Pooling) -> str:
    """Return float32[H, D] of tokens float32[Pt, Pf, D]; the formulas are those of `models.pooling`.

    Raises:
        ConfigError: The pooling has no graph.
    """
    if pooling.name not in GOES:
        hint = f"these can be exported: {', '.join(GOES)}"
        raise ConfigError("this pooling has no graph", value=pooling.name, hint=hint)
    x = graph.cast(tokens, "float64")
    if pooling.bands:
        x = graph.add("Transpose", x, perm=[1, 0, 2])
    else:
        shape = graph.add("Shape", x)
        size = graph.add("Gather", shape, graph.constant([2], np.int64), axis=0)
        x = graph.add("Reshape", x, graph.add("Concat", graph.constant([1, -1], np.int64), size, axis=0))
    if pooling.name == "max":
        return graph.cast(graph.add("ReduceMax", x, axes=[1], keepdims=0), "float32")
    weights = _deviation_weights(graph, x, pooling.params["gamma"]) if "gamma" in pooling.params else ""
    if "p" not in pooling.params:
        return graph.cast(_weighted(graph, x, weights), "float32")
    positive = graph.add("Max", x, graph.constant(0.0, np.float64))
    largest = graph.add("ReduceMax", positive, axes=[1], keepdims=1)
    powers = graph.add("Pow", _relative(graph, positive, largest), graph.constant(pooling.params["p"], np.float64))
    root = graph.add("Pow", _weighted(graph, powers, weights), graph.constant(1 / pooling.params["p"], np.float64))
    squeezed = graph.add("Squeeze", largest, graph.constant([1], np.int64))
    return graph.cast(graph.add("Mul", root, squeezed), "float32")


def _weighted(graph: Graph, x: str, weights: str) -> str:
    """Return the mean over tokens, weighted where there are weights [N, T]."""
    if not weights:
        return graph.mean(x, 1)
    middle = graph.constant([1], np.int64)
    return graph.add("Squeeze", graph.add("MatMul", graph.add("Unsqueeze", weights, middle), x), middle)


def _deviation_weights(graph: Graph, x: str, gamma: float) -> str:
    moved = graph.add("Sub", x, graph.mean(x, 1, keep=True))
    deviations = graph.add("Sqrt", graph.total(graph.add("Mul", moved, moved), 2))
    largest = graph.add("ReduceMax", deviations, axes=[1], keepdims=1)
    relative = graph.add("Add", _relative(graph, deviations, largest), graph.constant(1.0, np.float64))
    scaled = graph.add("Div", relative, graph.add("ReduceMax", relative, axes=[1], keepdims=1))
    weights = graph.add("Pow", scaled, graph.constant(gamma, np.float64))
    return graph.add("Div", weights, graph.total(weights, 1, keep=True))


def _relative(graph: Graph, x: str, largest: str) -> str:
    positive = graph.add("Greater", largest, graph.constant(0.0, np.float64))
    return graph.add("Div", x, graph.add("Where", positive, largest, graph.constant(1.0, np.float64)))

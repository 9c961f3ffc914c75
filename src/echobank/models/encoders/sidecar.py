"""The sidecar of an ONNX encoder: the small file beside it that says what the graph hears and what it gives.

    mymodel.onnx and mymodel.json (or .yaml):
    name: mymodel
    sample_rate: 32000
    input: {name: waveform, kind: waveform, axes: batch time}
    layers:
      - {output: tokens, axes: batch dimension band time, token_seconds: 0.16, band_edges_hz: [[0, 500], [500, 2000]]}
      - {output: features, axes: batch dimension}
    shortest_seconds: 1.0
    licence: MIT
    citation: who made it

Layers are in the order in which they are asked for by index; the last one is the default.
"""

from dataclasses import MISSING, dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from echobank.errors import WeightsError
from echobank.models.logmel import KALDI_128, SAMPLE_RATE

_EFFICIENT_AT = "F. Schmid et al., Efficient Large-Scale Audio Tagging via Transformer-to-CNN Distillation, ICASSP 2023"
_SOUNDNET = "Y. Aytar, C. Vondrick, A. Torralba, SoundNet, NIPS 2016"


@dataclass(frozen=True)
class Input:
    """What the graph takes.

    Attributes:
        name: Name of the graph's input.
        kind: "waveform", samples in [-1, 1]; or "logmel", what `models.logmel` gives at 16 kHz.
        axes: The words batch, time, mel and 1, in the order of the graph.
    """

    name: str
    kind: str = "waveform"
    axes: str = "batch time"


@dataclass(frozen=True)
class GraphLayer:
    """One output of the graph.

    Attributes:
        output: Its name.
        axes: The words batch, time, band, dimension and 1, in the order of the graph; time and band may be absent.
        token_seconds: Hop between tokens in seconds; 0 where one token stands for the whole clip.
        band_edges_hz: Lower and upper edge of each band in Hz; empty: from 0 to half the rate, for a single band.
    """

    output: str
    axes: str
    token_seconds: float = 0.0
    band_edges_hz: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Sidecar:
    """What is known of an ONNX encoder.

    Attributes:
        name: How the encoder is called.
        sample_rate: Hz.
        input: What it takes.
        layers: What it gives; the last is the default.
        shortest_seconds: A shorter clip is repeated to this length.
        licence: Of the weights.
        citation: Where they are described.
    """

    name: str
    sample_rate: int
    input: Input
    layers: tuple[GraphLayer, ...]
    shortest_seconds: float = 0.0
    licence: str = ""
    citation: str = ""

    @property
    def front_end(self) -> str:
        """Identity of the cacheable log-mel stage; empty for a waveform."""
        return KALDI_128 if self.input.kind == "logmel" else ""


# Edges of 16 mel bins each, of 128 that are linear in mel = 1127 ln(1 + f / 700) from 0 to 15 kHz, in Hz.
_MN04_HZ = (0.0, 342.0, 833.0, 1554.0, 2615.0, 4176.0, 6472.0, 9848.0, 15000.0)
_MN04_BANDS = tuple(pairwise(_MN04_HZ))

# Files that are known by their SHA-256 need no sidecar, and one that contradicts these facts is refused.
KNOWN = {
    "4f973b1e13c89a86a23335ce6f242be839f9665a26eb80544eab99688c42d08a": Sidecar(
        name="mn04",
        sample_rate=32000,
        input=Input("waveform_32k"),
        layers=(
            GraphLayer("tokens", "batch dimension band time", 0.16, _MN04_BANDS),
            GraphLayer("features", "batch dimension"),
        ),
        shortest_seconds=1.0,
        licence="MIT",
        citation=_EFFICIENT_AT,
    ),
    "06b20ad8ada099e5a7af615208cb682726d54bd263ee4d70de14209072fd8f46": Sidecar(
        name="soundnet_onnx",
        sample_rate=22050,
        input=Input("waveform_22k"),
        layers=(GraphLayer("features", "batch dimension"), GraphLayer("tokens", "batch dimension time", 4096 / 22050)),
        shortest_seconds=0.8,
        licence="MIT",
        citation=_SOUNDNET,
    ),
}


def read_sidecar(path: Path) -> Sidecar:
    """Read a sidecar in JSON or YAML.

    Raises:
        WeightsError: It cannot be read, a key is unknown or missing, or a value is impossible.
    """
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WeightsError(f"the sidecar cannot be read ({error.strerror})", where=path) from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise WeightsError("the sidecar is neither JSON nor YAML", where=path) from error
    try:
        sidecar = _sidecar(tree)
        _require(sidecar)
    except (ValueError, TypeError) as error:
        raise WeightsError(f"the sidecar cannot be used: {error}", where=path) from error
    return sidecar


def _sidecar(tree: Any) -> Sidecar:
    values = _values(Sidecar, tree, "the file")
    layers = values["layers"]
    if not isinstance(layers, list):
        raise ValueError("layers must be a list")
    values["input"] = Input(**_values(Input, values["input"], "input"))
    values["layers"] = tuple(_layer(item) for item in layers)
    return Sidecar(**values)


def _layer(tree: Any) -> GraphLayer:
    values = _values(GraphLayer, tree, "a layer")
    edges = values.get("band_edges_hz", ())
    values["band_edges_hz"] = tuple((float(low), float(high)) for low, high in edges)
    return GraphLayer(**values)


def _values(cls: Any, tree: Any, place: str) -> dict[str, Any]:
    """Return the values of a mapping after holding its keys and simple types to a dataclass."""
    if not isinstance(tree, dict):
        raise ValueError(f"{place} must be a mapping")
    known = {field.name: field for field in fields(cls)}
    kinds: dict[Any, Any] = {str: str, int: int, float: (int, float)}
    for key, value in tree.items():
        if key not in known:
            raise ValueError(f"unknown key {key!r} in {place}, the keys are {', '.join(known)}")
        kind = kinds.get(known[key].type)
        if kind is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            raise ValueError(f"{key} in {place} cannot be {value!r}")
    for name, field in known.items():
        if name not in tree and field.default is MISSING:
            raise ValueError(f"{name} is missing in {place}")
    return dict(tree)


def _require(sidecar: Sidecar) -> None:
    if not 1000 <= sidecar.sample_rate <= 384_000:
        raise ValueError(f"sample_rate {sidecar.sample_rate} is not a rate in Hz")
    if sidecar.input.kind not in ("waveform", "logmel"):
        raise ValueError(f"input kind {sidecar.input.kind!r} is neither waveform nor logmel")
    _require_axes(sidecar.input.axes, {"time", "mel"} if sidecar.input.kind == "logmel" else {"time"}, set())
    if sidecar.input.kind == "logmel" and sidecar.sample_rate != SAMPLE_RATE:
        raise ValueError(f"the log-mel front end hears at {SAMPLE_RATE} Hz, not {sidecar.sample_rate}")
    if not sidecar.layers:
        raise ValueError("layers is empty")
    for layer in sidecar.layers:
        _require_axes(layer.axes, {"dimension"}, {"time", "band"})
        if ("time" in layer.axes.split()) != (layer.token_seconds > 0):
            raise ValueError(f"{layer.output} needs token_seconds above 0 if it has a time axis, and none if not")


def _require_axes(axes: str, needed: set[str], possible: set[str]) -> None:
    words = [word for word in axes.split() if word != "1"]
    if len(set(words)) != len(words) or not needed | {"batch"} <= set(words) <= needed | possible | {"batch"}:
        allowed = ", ".join(sorted(needed | possible | {"batch"}))
        raise ValueError(f"axes {axes!r} must be words of {allowed} and 1, each once")

"""Any ONNX encoder, run by onnxruntime: the graph, and a sidecar that says how to feed it. No torch."""

import hashlib
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echobank.errors import ConfigError, WeightsError
from echobank.models.encoder import EncoderFacts, Float32
from echobank.models.encoders.sidecar import KNOWN, GraphLayer, Sidecar, read_sidecar
from echobank.models.logmel import MELS, SHORTEST, audible, logmel
from echobank.models.weights.cards import Card

_PROBE_SECONDS = (5.0, 10.0)
_RATE_TOLERANCE = 0.02  # of the frames that the claimed rate and hop promise; one frame more is rounding
_SUFFIXES = (".json", ".yaml", ".yml")
_SEPARATOR = "?sidecar="


def load(card: Card | None, path: Path, device: str, precision: str, compile: bool) -> "OnnxEncoder":
    """Load `model.onnx`, or `model.onnx?sidecar=other.json`; it runs on the CPU in the graph's own precision.

    Raises:
        WeightsError: Not an ONNX file, no sidecar or a wrong one, or onnxruntime is not installed.
    """
    del device, precision, compile
    file, content, sidecar = _open(path)
    digest = hashlib.sha256(content).hexdigest()
    if card is not None and card.sha256 != digest:
        raise WeightsError(f"not the file of {card.name}", where=file, hint=f"its SHA-256 is {card.sha256[:12]}...")
    kind = OnnxSpectrogramEncoder if sidecar.front_end else OnnxEncoder
    return kind(content, sidecar, digest, str(file))


def hears(path: Path) -> tuple[int, str]:
    """Return sample rate in Hz and front end of an ONNX encoder, from its sidecar alone.

    Raises:
        WeightsError: As `load`, but for the graph.
    """
    _, _, sidecar = _open(path)
    return sidecar.sample_rate, sidecar.front_end


class OnnxEncoder:
    """An encoder whose graph is an ONNX file; see `models.encoder.Encoder`.

    Clips go through the graph one at a time, so that nothing depends on the batch. The file may not refer to others.
    """

    def __init__(self, content: bytes, sidecar: Sidecar, sha256: str, where: str) -> None:
        """Open the graph, hold it to the sidecar, and listen to noise of two lengths to see that the rate is true.

        Raises:
            WeightsError: The file is not ONNX, needs something else beside it, or contradicts the sidecar.
        """
        self._sidecar, self._where = sidecar, where
        self._session = _session(content, where)
        self._require_input()
        self._require_outputs()
        self._require_stated_rate()
        last = sidecar.layers[-1]
        grids = [self._probe(number) for number in range(1, len(sidecar.layers) + 1)]
        self.facts = EncoderFacts(
            name=sidecar.name,
            weights_sha256=sha256,
            sample_rate=sidecar.sample_rate,
            front_end=sidecar.front_end,
            dimension=grids[-1].shape[2],
            bands=grids[-1].shape[1],
            layers=len(sidecar.layers),
            engine="onnxruntime",
            token_seconds=last.token_seconds,
        )

    @cached_property
    def band_edges_hz(self) -> NDArray[np.float64]:
        """Edges of the bands of the last layer, float64[Pf, 2], Hz."""
        whole = ((0.0, self.facts.sample_rate / 2),)
        return np.array(self._sidecar.layers[-1].band_edges_hz or whole)

    @property
    def sidecar(self) -> Sidecar:
        """What is known of the graph."""
        return self._sidecar

    @property
    def file(self) -> str:
        """Where the graph lies."""
        return self._where

    def tokens(self, waveforms: Sequence[Float32], layer: int | None = None) -> list[Float32]:
        """Return float32[Pt, Pf, D] per clip; Pt = Pf = 1 where the layer has neither times nor bands.

        Raises:
            ConfigError: No such layer.
            AudioError: A clip without samples, or with one that is not a number.
        """
        chosen = self._layer(layer)
        return [self._run(self._features(waveform), chosen) for waveform in waveforms]

    def _features(self, waveform: Float32) -> Float32:
        """Return what the graph takes."""
        return audible(waveform, max(1, self._shortest))

    @property
    def _shortest(self) -> int:
        return round(self._sidecar.shortest_seconds * self._sidecar.sample_rate)

    def _layer(self, number: int | None) -> GraphLayer:
        layers = self._sidecar.layers
        if number is not None and not 1 <= number <= len(layers):
            raise ConfigError(f"{self._sidecar.name} has layers 1 to {len(layers)}", value=number)
        return layers[-1 if number is None else number - 1]

    def _run(self, features: Float32, layer: GraphLayer) -> Float32:
        """Return float32[Pt, Pf, D] of a waveform float32[T] or a log-mel float32[F, 128]."""
        names = ("time", "mel")[: features.ndim]
        fed = _arrange(features, names, self._sidecar.input.axes.split())
        try:
            (out,) = self._session.run([layer.output], {self._sidecar.input.name: fed})
        except Exception as error:  # onnxruntime raises a dozen types without a common base
            raise WeightsError(
                f"the graph fails on {len(features)} samples or frames ({_line(error)})", where=self._where
            ) from error
        words = layer.axes.split()
        if out.ndim != len(words) or any(n != 1 for n, w in zip(out.shape, words, strict=True) if w in ("1", "batch")):
            raise self._lie(f"{layer.output} has the axes {layer.axes}", f"the graph gives {list(out.shape)}")
        kept = [word for word in words if word not in ("1", "batch")]
        plain = out.reshape([n for n, word in zip(out.shape, words, strict=True) if word in kept])
        return _arrange(
            plain, kept, ["time" if "time" in kept else "1", "band" if "band" in kept else "1", "dimension"]
        )

    def _require_input(self) -> None:
        wanted, inputs = self._sidecar.input, self._session.get_inputs()
        if [item.name for item in inputs] != [wanted.name]:
            raise self._lie(
                f"the input is {wanted.name}", f"the graph has {', '.join(i.name for i in inputs) or 'none'}"
            )
        shape, words = list(inputs[0].shape), wanted.axes.split()
        fixed = {"batch": (1,), "1": (1,), "mel": (MELS,), "time": ()}
        fits = len(shape) == len(words) and all(
            not isinstance(size, int) or size in fixed[word] for size, word in zip(shape, words, strict=True)
        )
        if not fits or inputs[0].type != "tensor(float)":
            raise self._lie(f"{wanted.name} is float [{wanted.axes}]", f"the graph has {inputs[0].type} {shape}")

    def _require_outputs(self) -> None:
        there = [item.name for item in self._session.get_outputs()]
        for layer in self._sidecar.layers:
            if layer.output not in there:
                raise self._lie(f"there is an output {layer.output}", f"the graph has {', '.join(there)}")

    def _require_stated_rate(self) -> None:
        stated = self._session.get_modelmeta().custom_metadata_map.get("sample_rate")
        if stated is not None and stated != str(self._sidecar.sample_rate):
            raise self._lie(f"the rate is {self._sidecar.sample_rate} Hz", f"the graph states {stated}")

    def _probe(self, number: int) -> Float32:
        """Return a grid of tokens of noise, after comparing how many frames more the longer of two clips has."""
        layer, rate = self._sidecar.layers[number - 1], self._sidecar.sample_rate
        generator = np.random.default_rng(0)
        clips = [generator.normal(0, 0.1, round(seconds * rate)).astype(np.float32) for seconds in _PROBE_SECONDS]
        short, long = self.tokens(clips, number)
        if layer.band_edges_hz and len(layer.band_edges_hz) != long.shape[1]:
            raise self._lie(f"{layer.output} has {len(layer.band_edges_hz)} bands", f"the graph gives {long.shape[1]}")
        if layer.token_seconds:
            promised = (_PROBE_SECONDS[1] - _PROBE_SECONDS[0]) / layer.token_seconds
            found = len(long) - len(short)
            if abs(found - promised) > 1 + _RATE_TOLERANCE * promised:
                spacing = f"{layer.token_seconds:g} s at {rate} Hz, {promised:.0f} in 5 s"
                claim = f"{layer.output} has a token every {spacing}"
                raise self._lie(claim, f"the graph gives {found}: sample_rate or token_seconds is wrong")
        return long

    def _lie(self, claim: str, truth: str) -> WeightsError:
        return WeightsError(f"the sidecar says that {claim}, {truth}", where=self._where)


class OnnxSpectrogramEncoder(OnnxEncoder):
    """An encoder whose graph takes the log-mel spectrogram of `models.logmel`."""

    def logmel(self, waveform: Float32) -> Float32:
        """Return log-mel float32[F, 128].

        Raises:
            AudioError: A clip without samples, or with one that is not a number.
        """
        return logmel(audible(waveform, max(SHORTEST, self._shortest)))

    def tokens_from_logmel(self, logmels: Sequence[Float32], layer: int | None = None) -> list[Float32]:
        """Return what `tokens` gives, from what `logmel` gave.

        Raises:
            ConfigError: No such layer.
        """
        chosen = self._layer(layer)
        return [self._run(frames, chosen) for frames in logmels]

    def _features(self, waveform: Float32) -> Float32:
        return self.logmel(waveform)


def _open(path: Path) -> tuple[Path, bytes, Sidecar]:
    """Return the file, its bytes and its sidecar: the one named, the known one, or the one beside it."""
    name, _, other = str(path).partition(_SEPARATOR)
    file = Path(name).expanduser()
    try:
        content = file.read_bytes()
    except OSError as error:
        raise WeightsError(f"the ONNX file cannot be read ({error.strerror})", where=file) from error
    known = KNOWN.get(hashlib.sha256(content).hexdigest())
    beside = [file.with_suffix(suffix) for suffix in _SUFFIXES if file.with_suffix(suffix).is_file()]
    given = Path(other).expanduser() if other else next(iter(beside), None)
    if given is None:
        if known is None:
            hint = f"write {file.with_suffix('.json').name} beside it, or onnx:MODEL{_SEPARATOR}FILE"
            raise WeightsError("no sidecar says what this encoder hears", where=file, hint=hint)
        return file, content, known
    sidecar = read_sidecar(given)
    if known is not None and (sidecar.sample_rate, sidecar.input) != (known.sample_rate, known.input):
        truth = f"this file is {known.name}, which hears {known.input.kind} at {known.sample_rate} Hz"
        raise WeightsError(f"the sidecar says {sidecar.sample_rate} Hz, {truth}", where=given)
    return file, content, sidecar


def _session(content: bytes, where: str) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise WeightsError("onnxruntime is not installed", where=where, hint="pip install 'echobank[onnx]'") from error
    options = onnxruntime.SessionOptions()
    # The feeder runs clips side by side; and the sums of some graphs depend on the number of threads in the last bit.
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "") or 1)
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.enable_cpu_mem_arena = False  # the arena keeps the largest clip's memory for ever
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # as in `_run`
        raise WeightsError(f"not an ONNX encoder that onnxruntime can open ({_line(error)})", where=where) from error


def _arrange(array: Float32, names: Sequence[str], wanted: Sequence[str]) -> Float32:
    """Return the axes `names` in the order `wanted`, where batch and 1 are new axes of size 1."""
    order = [names.index(word) for word in wanted if word in names]
    shape = [array.shape[names.index(word)] if word in names else 1 for word in wanted]
    return np.ascontiguousarray(array.transpose(order).reshape(shape), dtype=np.float32)


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 160 else f"{text[:160]}..."

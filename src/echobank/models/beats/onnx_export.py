"""BEATs as one ONNX file with its sidecar: log-mel in, tokens out, run by onnxruntime without torch."""

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from echobank.errors import ConfigError, WeightsError
from echobank.models.beats.beats_encoder import BeatsEncoder
from echobank.models.beats.model import Beats, unpack
from echobank.models.encoder import Encoder, Float32
from echobank.storage import atomic_path, write_json

_OPSET = 17  # the first with LayerNormalization
_TRACED_FRAMES = 998  # 10 s; the graph takes any length


@dataclass(frozen=True)
class Parity:
    """How far the exported encoder is from the one it was made of, over some clips.

    Attributes:
        clips: How many.
        tokens: Largest absolute difference of a token.
        cosine: Largest 1 - cos between mean-pooled embeddings.
        rank: Spearman correlation of all distances between pooled embeddings; NaN for fewer than three clips.
    """

    clips: int
    tokens: float
    cosine: float
    rank: float


class _Graph(nn.Module):
    """The model with the token grid as its output, float32[1, Pt, Pf, D]."""

    def __init__(self, model: Beats, layer: int, bands: int) -> None:
        super().__init__()
        self.model, self.layer, self.bands = model, layer, bands

    def forward(self, logmel: Tensor) -> Tensor:
        (tokens,) = self.model(logmel, [self.layer])
        clips, _, dimension = tokens.shape
        return torch.as_tensor(tokens.view(clips, -1, self.bands, dimension))


def export_onnx(encoder: Encoder, folder: Path | str, *, layer: int | None = None, int8: bool = False) -> Path:
    """Write `<name>.onnx` and `<name>.json` into a folder and return the first; `onnx:<file>` loads it.

    Args:
        encoder: A BEATs encoder in fp32 on the CPU, not compiled.
        folder: Where the files go.
        layer: Layer whose tokens come out, from 1; None is the last.
        int8: Hold the weights of the matrix products as 8-bit integers and multiply in them.

    Raises:
        ConfigError: Another kind of encoder, another precision, or a layer that is not there.
        WeightsError: The onnx extra is not installed.
        OutputError: A file cannot be written.
    """
    facts = encoder.facts
    if not isinstance(encoder, BeatsEncoder) or facts.precision != "fp32":
        raise ConfigError("only a BEATs encoder in fp32 can be exported", value=f"{facts.name}, {facts.precision}")
    number = facts.layers if layer is None else layer
    if not 1 <= number <= facts.layers:
        raise ConfigError("no such layer", value=layer, hint=f"{facts.name} has layers 1 to {facts.layers}")
    stem = facts.name.removesuffix(".pt")
    name = f"{stem}{f'_layer{number}' if layer else ''}{'_int8' if int8 else ''}"
    target = Path(folder) / f"{name}.onnx"
    with atomic_path(target) as temporary:
        _trace(_Graph(unpack(encoder.model), number, facts.bands), temporary)
        if int8:
            _quantise(temporary)
    write_json(
        target.with_suffix(".json"),
        {
            "name": name,
            "sample_rate": facts.sample_rate,
            "input": {"name": "logmel", "kind": "logmel", "axes": "batch time mel"},
            "layers": [
                {
                    "output": "tokens",
                    "axes": "batch time band dimension",
                    "token_seconds": facts.token_seconds,
                    "band_edges_hz": encoder.band_edges_hz.tolist(),
                }
            ],
            "citation": f"exported from weights with SHA-256 {facts.weights_sha256}",
        },
    )
    return target


def compare(ours: Encoder, exported: Encoder, waveforms: Iterable[Float32], layer: int | None = None) -> Parity:
    """Return how far two encoders are apart on clips float32[T]; `layer` is that of `ours`."""
    pooled: list[list[Float32]] = [[], []]
    worst = 0.0
    for waveform in waveforms:
        grids = ours.tokens([waveform], layer)[0], exported.tokens([waveform])[0]
        worst = max(worst, float(np.abs(grids[0] - grids[1]).max()))
        for side, grid in zip(pooled, grids, strict=True):
            side.append(grid.mean(axis=(0, 1)))
    a, b = (_unit(np.stack(side)) for side in pooled)
    pairs = np.triu_indices(len(a), 1)
    from scipy.stats import spearmanr

    rank = float(spearmanr((a @ a.T)[pairs], (b @ b.T)[pairs]).statistic) if len(a) > 2 else float("nan")
    return Parity(len(a), worst, float((1 - (a * b).sum(axis=1)).max()), rank)


def write_metadata(path: Path, facts: dict[str, str]) -> None:
    """Add plain facts to the metadata of an ONNX file."""
    import onnx

    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, facts)
    onnx.save(model, str(path))


def _trace(graph: nn.Module, path: Path) -> None:
    example = torch.zeros(1, _TRACED_FRAMES, 128)
    try:
        with torch.enable_grad():  # with gradients off the position bias would be a constant
            torch.onnx.export(
                graph,
                (example,),
                str(path),
                dynamo=False,
                opset_version=_OPSET,
                input_names=["logmel"],
                output_names=["tokens"],
                dynamic_axes={"logmel": {1: "frames"}, "tokens": {1: "patches"}},
            )
        write_metadata(path, {"sample_rate": "16000"})
    except ImportError as error:
        raise WeightsError("onnx is not installed", hint="pip install 'echobank[onnx]'") from error


def _quantise(path: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder) / "int8.onnx"
        quantize_dynamic(
            str(path), str(made), weight_type=QuantType.QInt8, per_channel=True, op_types_to_quantize=["MatMul"]
        )
        made.replace(path)


def _unit(vectors: Float32) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    wide = vectors.astype(np.float64)
    return np.asarray(wide / np.linalg.norm(wide, axis=1, keepdims=True))

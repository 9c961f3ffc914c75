"""Write the references with the version before. See README.md beside this file."""

import json
import lzma
import struct
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
from echobank.monitoring.machine import open_machine

from echobank.config import load_config
from echobank.detection.bank import Bank, Row, save_bank
from echobank.pipeline.run import Run
from tests.golden.before import backends, scenes
from tests.golden.before.places import HERE, inside, prepare, unpinned

LIBRARIES = ("numpy", "scipy", "scikit-learn", "torch", "onnxruntime", "soxr", "soundfile")


def main(wanted: list[str]) -> None:
    """Write the scenes that are named, such as own_pump, or everything."""
    for name in ("banks", "models"):
        (HERE / name).mkdir(exist_ok=True)
    if not wanted:
        make_onnx(HERE / "models" / "toy.onnx")
        make_beats(HERE / "models" / "tiny.pt")
    queries = dict(np.load(HERE / "queries.npz")) if wanted else {}
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary).resolve()
        facts = {"recordings": prepare(base), "versions": {name: version(name) for name in LIBRARIES}}
        write_json("recordings.json", facts)
        with unpinned(base):
            for kind, group in (("dcase", scenes.DCASE), ("own", scenes.OWN)):
                for name in group:
                    if not wanted or f"{kind}_{name}" in wanted:
                        queries |= make_scene(kind, name, *group[name], base)
        if not wanted:
            queries["odd"] = odd_bank(base)
            first_schema(base)
            queries["dcase_first"] = queries["dcase_logmel"]
    np.savez_compressed(HERE / "queries.npz", **queries)
    write_scores()


def make_scene(kind: str, name: str, commands: list[list[str]], making: int, base: Path) -> dict[str, np.ndarray]:
    """Write one scene and its bank; return its queries."""
    folder = scenes.enter(base, base / f"{kind}_{name}")
    steps, queries = [], {}
    for number, step in enumerate(scenes.play(folder, commands), 1):
        assert step["code"] in (0, 1, 3), step
        steps.append(step)
        if number == making:
            keep_banks(kind, name, folder, base)
            queries = {f"{kind}_{name}": heard(kind, name, folder, commands)}
    write_json(f"{kind}_{name}.json", steps, str(base))
    return queries


def write_scores() -> None:
    """Write what every back-end gives on every stored bank."""
    scores, answers = {}, {}
    for name in backends.BANKS:
        bank, queries = backends.open_bank(HERE, name)
        for text in backends.names(name):
            for metric in backends.METRICS:
                found = backends.arrays(bank, queries, text, metric)
                key = f"{name} {text} {metric}"
                if isinstance(found, str):
                    answers[key] = found
                    continue
                scores |= {f"{key} {what}": values for what, values in found.items()}
                if text in backends.CALIBRATED and metric == "cosine" and "states" in found:
                    answers[key] = backends.thresholds(bank, found)
    backends.write_scores(HERE, scores)
    write_json("thresholds.json", answers)


def write_json(name: str, content: object, base: str = "\0") -> None:
    """Write JSON that names no folder of this machine."""
    text = json.dumps(content, indent=0, sort_keys=True, ensure_ascii=False)
    (HERE / name).write_text(text.replace(base, ".") + "\n")


def keep_banks(kind: str, name: str, folder: Path, base: Path) -> None:
    """Store the banks that a scene made, the folder of its recordings relative to where it runs."""
    if kind == "dcase":
        for path in sorted((folder / "results" / "banks").glob("*.safetensors")):
            machine = path.stem.partition("_")[0]
            suffix = "" if machine == "fan" else f"_{machine}"
            change_header(path, HERE / "banks" / f"dcase_{name}{suffix}.safetensors.xz", str(base), ".")
        return
    made = folder / "banks" / "pump" / "bank.safetensors"
    change_header(made, HERE / "banks" / f"own_{name}.safetensors.xz", str(base), ".")


def change_header(path: Path, target: Path, old: str, new: str) -> None:
    """Copy a bank, compressed, with one text of its header replaced."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    head = content[8 : 8 + length].decode().rstrip()
    head = (head.replace(old, new) if old else head).encode()
    head += b" " * (-len(head) % 8)
    target.write_bytes(lzma.compress(struct.pack("<Q", len(head)) + head + content[8 + length :]))


def heard(kind: str, name: str, folder: Path, commands: list[list[str]]) -> np.ndarray:
    """Return embeddings of recordings that are not in the bank, float32[Q, H, D]."""
    with inside(folder):
        if kind == "own":
            weights = scenes.WEIGHTS if name == "soundnet" else None
            listener = open_machine("banks/pump", weights=weights).listener
            files = [Path("new/good.wav"), Path("new/bad.wav"), Path("new/worse.wav")]
            files = sorted(Path("landing").iterdir()) if name == "stereo" else files
            return np.concatenate([one.vectors for one in listener.hear(files)])
        run = Run(load_config(None, commands[1][2::2]))
        clips = run.dataset.select("fan", "00", "test")
        return run.embed([run.reader.source(clip.path, allow_silent=True) for clip in clips], "").vectors


def odd_bank(base: Path) -> np.ndarray:
    """Store a bank with duplicates, silence, copies in groups and states of many sizes; return queries."""
    rng = np.random.default_rng(5)
    n = 70
    vectors = (rng.standard_normal((n, 2, 6)) + 1).astype(np.float32)
    vectors[3], vectors[7], vectors[5] = vectors[1], vectors[1], 0
    rows = tuple(
        Row(
            f"{i}.wav",
            "m",
            domain="target" if i % 7 == 0 else "source",
            attributes={"spd": str(i % 5), "load": "ab"[i % 3 == 0]},
            group=f"g{i // 2}",
        )
        for i in range(n)
    )
    save_bank(Bank(vectors, rows), base / "odd.safetensors")
    change_header(base / "odd.safetensors", HERE / "banks" / "odd.safetensors.xz", "", "")
    queries = (rng.standard_normal((9, 2, 6)) + 1).astype(np.float32)
    queries[0], queries[1], queries[2] = vectors[1], 0, 1000 * queries[2]
    return queries


def first_schema(base: Path) -> None:
    """Store the DCASE bank of logmel as a bank of schema 1."""
    made = backends.unpack(HERE, "dcase_logmel", base / "made.safetensors")
    change_header(made, HERE / "banks" / "dcase_first.safetensors.xz", r"\"schema\": 2", r"\"schema\": 1")


def make_onnx(path: Path) -> None:
    """Write an invented encoder: eight random filters of 25 ms, rectified, a token each 25 ms."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weight = np.random.default_rng(1).normal(size=(8, 1, 400)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["wave", "w"], ["filtered"], kernel_shape=[400], strides=[400]),
        helper.make_node("Abs", ["filtered"], ["grid"]),
    ]
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("wave", TensorProto.FLOAT, ["b", 1, "t"])],
        [helper.make_tensor_value_info("grid", TensorProto.FLOAT, ["b", 8, "n"])],
        [numpy_helper.from_array(weight, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))
    sidecar = {
        "name": "toy",
        "sample_rate": 16000,
        "input": {"name": "wave", "axes": "batch 1 time"},
        "layers": [{"output": "grid", "axes": "batch dimension time", "token_seconds": 0.025}],
        "shortest_seconds": 0.5,
    }
    path.with_suffix(".json").write_text(json.dumps(sidecar, indent=1) + "\n")


def make_beats(path: Path) -> None:
    """Write a tiny BEATs in the official format with random weights."""
    import torch
    from echobank.models.checkpoint import BeatsConfig, expected_shapes

    sizes = {"embed": 16, "layers": 2, "dimension": 16, "hidden": 32, "heads": 2}
    sizes |= {"position_taps": 8, "position_groups": 4, "buckets": 32, "max_distance": 64}
    generator = torch.Generator().manual_seed(0)
    state: dict[str, torch.Tensor] = {}
    table = "encoder.layers.0.self_attn.relative_attention_bias.weight"
    for key, shape in expected_shapes(BeatsConfig(**sizes)).items():
        tensor = torch.randn(shape, generator=generator)
        if len(shape) > 1:
            tensor /= float(np.sqrt(np.prod(shape[1:])))
        if key.endswith("norm.weight"):
            tensor = 1 + 0.1 * tensor
        if key.endswith("relative_attention_bias.weight"):
            tensor = state.get(table, tensor).clone()
        state[key] = tensor
    cfg = {
        "embed_dim": 16,
        "encoder_embed_dim": 16,
        "encoder_ffn_embed_dim": 32,
        "encoder_attention_heads": 2,
        "encoder_layers": 2,
        "input_patch_size": 16,
        "num_buckets": 32,
        "max_distance": 64,
        "conv_pos": 8,
        "conv_pos_groups": 4,
        "conv_bias": False,
        "deep_norm": True,
        "relative_position_embedding": True,
        "gru_rel_pos": True,
        "layer_norm_first": False,
        "activation_fn": "gelu",
        "finetuned_model": False,
    }
    torch.save({"cfg": cfg, "model": state}, path)


if __name__ == "__main__":
    main(sys.argv[1:])

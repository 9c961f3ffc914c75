"""A tiny BEATs in the official format with random weights, and a small data set of normal tones."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from echobank.models.beats.beats_config import BeatsConfig
from echobank.settings import FinetuneConfig

CFG = {
    "embed_dim": 24,
    "encoder_embed_dim": 32,
    "encoder_ffn_embed_dim": 48,
    "encoder_attention_heads": 4,
    "encoder_layers": 2,
    "input_patch_size": 16,
    "num_buckets": 32,
    "max_distance": 64,
    "conv_pos": 16,
    "conv_pos_groups": 4,
    "conv_bias": False,
    "deep_norm": True,
    "relative_position_embedding": True,
    "gru_rel_pos": True,
    "layer_norm_first": False,
    "activation_fn": "gelu",
    "finetuned_model": False,
}
SIZES = BeatsConfig(
    embed=24,
    layers=2,
    dimension=32,
    hidden=48,
    heads=4,
    position_taps=16,
    position_groups=4,
    buckets=32,
    max_distance=64,
)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """Path of the checkpoint."""
    torch = pytest.importorskip("torch", reason="no torch")
    from echobank.models.beats.checkpoint import expected_shapes

    generator = torch.Generator().manual_seed(0)
    state = {}
    for key, shape in expected_shapes(SIZES).items():
        tensor = torch.randn(shape, generator=generator)
        if len(shape) > 1:
            tensor /= float(np.sqrt(np.prod(shape[1:])))
        if key.endswith("norm.weight"):
            tensor = 1 + 0.1 * tensor
        if key.endswith("relative_attention_bias.weight"):
            tensor = state.get("encoder.layers.0.self_attn.relative_attention_bias.weight", tensor).clone()
        state[key] = tensor
    path = tmp_path_factory.mktemp("beats") / "tiny.pt"
    torch.save({"cfg": CFG, "model": state}, path)
    return path


def write_tones(folder: Path, split: str, name: str, pitch: float, seed: int, seconds: float = 1.0) -> Path:
    """Write a noisy tone as a recording of the data set."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * 16000)) / 16000
    samples = 0.2 * np.sin(2 * np.pi * pitch * time + rng.uniform(0, 6)) + 0.02 * rng.standard_normal(len(time))
    path = folder / split / name
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, 16000)
    return path


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    """Two machines, one with attributes and one without, noise clips, and a poisoned test folder."""
    folder = tmp_path_factory.mktemp("data")
    for number in range(12):
        domain = "target" if number >= 10 else "source"
        speed = 1 + number % 2
        name = f"section_00_{domain}_train_normal_{number:04d}_"
        write_tones(folder / "fan", "train", f"{name}spd_{speed}V.wav", 300 * speed, number)
        write_tones(folder / "pump", "train", f"{name}noAttribute.wav", 1000 + 500 * (number % 3), number)
    write_tones(folder / "fan", "supplemental", "section_00_noise_0000_.wav", 50, 99)
    for machine in ("fan", "pump"):
        for condition in ("normal", "anomaly"):
            path = folder / machine / "test" / f"section_00_source_test_{condition}_0000_spd_1V.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"poison: whoever opens this fails")
    return folder


@pytest.fixture
def settings():
    """Settings of a run of seconds."""
    return FinetuneConfig(
        rank=4,
        alpha=4.0,
        steps=6,
        batch_size=4,
        seconds=0.7,
        learning_rate=1e-2,
        checkpoint_every=2,
        source_clusters=3,
        patience=0,
    )

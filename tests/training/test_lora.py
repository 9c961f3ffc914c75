"""Low-rank updates: nothing at step 0, gradients only where they belong, merged equal to unmerged."""

import pytest

pytest.importorskip("torch", reason="no torch")

import dataclasses

import numpy as np
import torch

from echobank import load_encoder
from echobank.errors import WeightsError
from echobank.models.beats.adapter import Adapter, AdapterCard, load_adapter, merge, save_adapter, write_merged
from echobank.models.beats.checkpoint import read_checkpoint
from echobank.models.beats.model import build
from echobank.storage import sha256_file
from echobank.training.fine_tuning import Learner
from echobank.training.lora import LoraEncoder


def frozen_model(checkpoint):
    return build(checkpoint.config, checkpoint.state)


@pytest.fixture
def logmel():
    rng = np.random.default_rng(0)
    return torch.from_numpy(15 + 5 * rng.standard_normal((2, 70, 128)).astype(np.float32))


def trained(checkpoint, **options):
    """Return an encoder whose updates are not nothing."""
    torch.manual_seed(0)
    encoder = LoraEncoder(read_checkpoint(checkpoint), 4, 8.0, **options)
    with torch.no_grad():
        for update in encoder.updates:
            update.b.normal_(std=0.3)
    return encoder


def adapter_of(encoder, checkpoint):
    return Adapter(AdapterCard(str(checkpoint), sha256_file(checkpoint), 4, 8.0, 2, 32), encoder.tensors())


def test_at_step_0_it_is_the_frozen_encoder_exactly(checkpoint, logmel):
    encoder = LoraEncoder(read_checkpoint(checkpoint), 4, 8.0)
    frozen = frozen_model(read_checkpoint(checkpoint))
    early = LoraEncoder(read_checkpoint(checkpoint), 4, 8.0, layers=1)
    with torch.no_grad():
        assert torch.equal(encoder(logmel), frozen(logmel)[0])
        assert torch.equal(early(logmel), frozen(logmel, (1,))[0]) and len(early.tensors()) == 6
    # with gradients torch attends by another kernel, which rounds otherwise
    assert torch.allclose(encoder(logmel), frozen(logmel)[0], atol=1e-5)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_only_updates_pooling_and_head_get_gradients(checkpoint, logmel, settings, checkpointing):
    learner = Learner(trained(checkpoint, gradient_checkpointing=checkpointing), 3, settings)
    labels = torch.tensor([0, 2])
    learner(logmel, labels, labels, torch.ones(2)).backward()
    with_gradient = {name for name, p in learner.named_parameters() if p.grad is not None and bool(p.grad.any())}
    for name, parameter in learner.named_parameters():
        mine = name.startswith(("pooling.", "head.")) or name.endswith((".a", ".b"))
        assert parameter.requires_grad == mine, name
        assert (name in with_gradient) == mine, name
    assert sum(name.endswith(".a") for name in with_gradient) == 2


def test_gradient_checkpointing_changes_no_gradient(checkpoint, logmel):
    found = []
    for option in (False, True):
        encoder = trained(checkpoint, gradient_checkpointing=option)
        encoder(logmel).square().mean().backward()
        found.append([p.grad for p in encoder.parameters() if p.grad is not None])
    assert len(found[0]) == 4
    assert all(torch.allclose(one, two, atol=1e-7) for one, two in zip(*found, strict=True))


def test_merged_tokens_equal_unmerged_ones(checkpoint, logmel, tmp_path):
    encoder = trained(checkpoint)
    adapter = save_adapter(adapter_of(encoder, checkpoint), tmp_path / "adapter.safetensors")
    base = read_checkpoint(checkpoint)
    merged = frozen_model(merge(base, adapter, "a"))(logmel)[0]
    unmerged = encoder(logmel)
    assert (merged - unmerged).abs().max() < 1e-5
    assert (unmerged - frozen_model(base)(logmel)[0]).abs().max() > 0.05


def test_an_adapter_loads_by_itself_by_setting_and_as_a_merged_checkpoint(checkpoint, logmel, tmp_path):
    encoder = trained(checkpoint)
    path = tmp_path / "adapter.safetensors"
    save_adapter(adapter_of(encoder, checkpoint), path)
    write_merged(checkpoint, path, tmp_path / "m.pt")
    expected = encoder(logmel).detach().numpy().reshape(2, 4, 8, 32)
    alone, configured = load_encoder(path), load_encoder(str(checkpoint), adapter=path)
    for found in (alone, configured, load_encoder(path, weights=checkpoint), load_encoder(tmp_path / "m.pt")):
        assert np.abs(np.stack(found.tokens_from_logmel(list(logmel.numpy()))) - expected).max() < 1e-5
    base = load_encoder(str(checkpoint))
    assert alone.facts == configured.facts
    assert alone.facts.name == "tiny.pt+adapter" and alone.facts.weights_sha256 != base.facts.weights_sha256
    assert dataclasses.replace(alone.facts, name="tiny.pt", weights_sha256="") == dataclasses.replace(
        base.facts, weights_sha256=""
    )


def test_a_card_reads_back_equal(checkpoint, tmp_path):
    card = AdapterCard(
        "b", "0" * 64, 4, 8.0, 2, 32, "d", 7, ("one", "two"), 5, 3, {"loss": "adacos"}, ((0, 0.5), (5, 0.25))
    )
    written = save_adapter(dataclasses.replace(adapter_of(trained(checkpoint), checkpoint), card=card), tmp_path / "a")
    read = load_adapter(tmp_path / "a")
    assert read.card == card and read.sha256 == written.sha256 != ""
    assert all(torch.equal(read.tensors[name], tensor) for name, tensor in written.tensors.items())


def test_another_base_is_refused_with_both_hashes(checkpoint, tmp_path):
    adapter = adapter_of(trained(checkpoint), checkpoint)
    path = tmp_path / "a.safetensors"
    save_adapter(dataclasses.replace(adapter, card=dataclasses.replace(adapter.card, base_sha256="f" * 64)), path)
    with pytest.raises(WeightsError, match=rf"\(ffffffffffff\), these weights are {sha256_file(checkpoint)[:12]}"):
        load_encoder(str(checkpoint), adapter=path)
    with pytest.raises(WeightsError, match="only encoders of the BEATs architecture take an adapter"):
        load_encoder("logmel_stats", adapter=path)


def test_a_damaged_or_lying_adapter_is_named(checkpoint, tmp_path):
    adapter = adapter_of(trained(checkpoint), checkpoint)
    path = tmp_path / "a.safetensors"
    save_adapter(dataclasses.replace(adapter, card=dataclasses.replace(adapter.card, rank=5)), path)
    with pytest.raises(WeightsError, match=r"layers\.0\.k\.a of the adapter should be \(5, 32\): \(4, 32\)"):
        load_adapter(path)
    path.write_bytes(b"junk")
    with pytest.raises(WeightsError, match="not an adapter, or a damaged one"):
        load_adapter(path)
    with pytest.raises(WeightsError, match="no such adapter"):
        load_adapter(tmp_path / "nowhere")
    lost = save_adapter(dataclasses.replace(adapter, card=dataclasses.replace(adapter.card, base="gone/b.pt")), path)
    with pytest.raises(WeightsError, match="gone"):
        load_encoder(path)
    assert lost.sha256

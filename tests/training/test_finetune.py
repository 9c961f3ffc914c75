"""Fine-tuning whole: what is read, exact resume, what comes out, what is refused."""

import pytest

pytest.importorskip("torch", reason="no torch")

import dataclasses
import json
import shutil

import numpy as np
import torch

from echobank.config import load_config
from echobank.data.audio import read_clip
from echobank.detection.bank import load_bank
from echobank.errors import BankError, ConfigError, InputError
from echobank.models.beats.adapter import load_adapter
from echobank.models.provenance import require_same
from echobank.pipeline import clips as clips_module
from echobank.pipeline.finetune import finetune_run, with_adapter
from echobank.pipeline.run import Run
from echobank.pipeline.train import train


def make_run(checkpoint, root, out, settings, *more):
    overrides = [f"data.root={root}", f"data.cache={out / 'cache'}", f"output.dir={out}", "model.k=1"]
    config = load_config(None, [*overrides, f"model.embedding={checkpoint}", *more])
    return Run(dataclasses.replace(config, finetune=settings))


def test_no_test_clip_and_no_anomaly_is_ever_read(checkpoint, root, tmp_path, settings, monkeypatch):
    seen = []

    def spy(path, **options):
        seen.append(path)
        return read_clip(path, **options)

    monkeypatch.setattr(clips_module, "read_clip", spy)
    result = finetune_run(make_run(checkpoint, root, tmp_path, settings))
    assert {path.parent.name for path in seen} == {"train", "supplemental"}
    assert not any("anomaly" in path.name for path in seen)
    assert {path.name for path in seen if path.parent.name == "supplemental"} == {"section_00_noise_0000_.wav"}
    assert len(result.task.labels) == 2 * 2 + 3 + 1  # speeds of the fan in both domains, clusters of the pump


def test_an_interrupted_run_has_the_losses_of_one_that_was_not(checkpoint, root, tmp_path, settings):
    whole = finetune_run(make_run(checkpoint, root, tmp_path / "whole", settings))

    class Stop(Exception):
        pass

    def interrupt(items, *, total, label):
        for number, item in enumerate(items):
            if label == "finetune" and number == 5:
                raise Stop
            yield item

    run = make_run(checkpoint, root, tmp_path / "parts", settings)
    with pytest.raises(Stop):
        finetune_run(Run(run.config, interrupt))
    parts = finetune_run(run)
    assert np.abs(np.subtract(parts.journal.losses, whole.journal.losses)).max() < 1e-6
    assert parts.journal.validations == whole.journal.validations
    for name, tensor in whole.adapter.tensors.items():
        assert torch.equal(tensor, parts.adapter.tensors[name])


def test_the_adapter_knows_how_it_came_about_and_banks_remember_it(checkpoint, root, tmp_path, settings):
    run = make_run(checkpoint, root, tmp_path, dataclasses.replace(settings, loss="arcface"))
    result = finetune_run(run)
    card = load_adapter(result.path).card
    assert card == result.adapter.card and card.labels == result.task.labels.names
    assert card.clips == 24 - len(result.task.held) and card.seed == 0 and card.training["loss"] == "arcface"
    assert card.base_sha256 == run.encoder.facts.weights_sha256 and len(card.data_sha256) == 64
    assert {file.name for file in result.files} == {"journal.json", "curves.svg"}
    assert len(json.loads(result.files[0].read_text())["losses"]) == 6
    tuned = with_adapter(run, result)
    bank = load_bank(train(tuned).banks[0].path)
    assert bank.header.provenance.encoder.name == "tiny.pt+adapter"
    assert require_same(bank.header.provenance, tuned.provenance, tmp_path) == ()
    with pytest.raises(BankError, match="adapter"):
        require_same(bank.header.provenance, run.provenance, tmp_path)


def test_learning_lowers_the_loss(checkpoint, root, tmp_path, settings):
    longer = dataclasses.replace(settings, steps=60, learning_rate=3e-3, mixup=0.0, noise=0.0, pitch=0.0)
    losses = finetune_run(make_run(checkpoint, root, tmp_path, longer)).journal.losses
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:5])


@pytest.mark.parametrize("option", [{"gradient_checkpointing": True}, {"precision": "bf16"}])
def test_memory_and_precision_options_change_little(checkpoint, root, tmp_path, settings, option):
    plain = finetune_run(make_run(checkpoint, root, tmp_path / "plain", settings)).journal.losses
    other = finetune_run(make_run(checkpoint, root, tmp_path / "other", dataclasses.replace(settings, **option)))
    assert other.journal.losses == pytest.approx(plain, rel=0.1 if "precision" in option else 1e-4)


def test_one_machine_with_one_label_is_refused(checkpoint, root, tmp_path, settings):
    alone = tmp_path / "alone"
    (alone / "fan/train").mkdir(parents=True)
    for path in sorted((root / "fan/train").glob("*source*spd_1V.wav")):
        shutil.copy(path, alone / "fan/train")
    with pytest.raises(InputError, match=r"at least two labels.*there is one: 'fan_section_00 source spd=1V'"):
        finetune_run(make_run(checkpoint, alone, tmp_path / "out", settings))


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        (("model.embedding=logmel_stats",), InputError, "only encoders of the BEATs architecture"),
        (("weights.adapter=x.safetensors",), ConfigError, "starts from the encoder alone"),
    ],
)
def test_what_cannot_be_fine_tuned_is_refused(checkpoint, root, tmp_path, settings, more, error, message):
    with pytest.raises(error, match=message):
        finetune_run(make_run(checkpoint, root, tmp_path, settings, *more))


def test_a_bad_training_clip_is_left_out_by_name(checkpoint, root, tmp_path, settings):
    broken = tmp_path / "data"
    shutil.copytree(root, broken)
    bad = broken / "fan/train/section_00_source_train_normal_0099_spd_1V.wav"
    bad.write_bytes(b"RIFF")
    result = finetune_run(make_run(checkpoint, broken, tmp_path / "out", settings))
    assert [item.name for item in result.task.material.skipped] == [bad.name]

"""The loop: exact resume, refusal of another run's checkpoint, early stop, running mean, learning rate."""

import pytest

pytest.importorskip("torch", reason="no torch")

import dataclasses

import numpy as np
import torch
from torch import nn

from echobank.errors import InputError
from echobank.training.curves import draw_curves, write_journal
from echobank.training.loop import CHECKPOINT, LoopSettings, fit

SETTINGS = LoopSettings(steps=12, learning_rate=1e-2, checkpoint_every=5, ema=0.9, weight_decay=0.1)


def make():
    torch.manual_seed(7)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.ReLU(), nn.Linear(8, 1))
    model[0].weight.requires_grad_(False)

    def loss_at(step):
        x = torch.from_numpy(np.random.default_rng([3, step]).standard_normal((16, 4)).astype(np.float32))
        return (model(x)[:, 0] - x.sum(dim=1)).square().mean()

    return model, loss_at


class Stop(Exception):
    pass


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("after", [5, 7, 11])
def test_an_interrupted_run_goes_on_exactly(tmp_path, after, precision):
    settings = dataclasses.replace(SETTINGS, precision=precision)
    model, loss_at = make()
    whole = fit(model, loss_at, settings, tmp_path / "whole", {"data": "a"})

    broken, broken_loss = make()

    def failing(step):
        if step == after:
            raise Stop
        return broken_loss(step)

    with pytest.raises(Stop):
        fit(broken, failing, settings, tmp_path / "parts", {"data": "a"})
    resumed, resumed_loss = make()
    with torch.no_grad():
        resumed[4].weight.fill_(9.0)
    parts = fit(resumed, resumed_loss, settings, tmp_path / "parts", {"data": "a"})
    assert parts.losses == whole.losses and parts.rates == whole.rates
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_a_finished_run_is_not_run_again(tmp_path):
    model, loss_at = make()
    first = fit(model, loss_at, SETTINGS, tmp_path, {})
    again = fit(make()[0], lambda step: pytest.fail("ran a step"), SETTINGS, tmp_path, {})
    assert again.losses == first.losses


@pytest.mark.parametrize(
    ("identity", "changes", "message"),
    [({"data": "b"}, {}, "data 'a', this run has 'b'"), ({"data": "a"}, {"learning_rate": 1.0}, "learning_rate")],
)
def test_the_checkpoint_of_another_run_is_refused(tmp_path, identity, changes, message):
    model, loss_at = make()
    fit(model, loss_at, SETTINGS, tmp_path, {"data": "a"})
    with pytest.raises(InputError, match=message):
        fit(*make(), dataclasses.replace(SETTINGS, **changes), tmp_path, identity)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_a_damaged_checkpoint_is_named(tmp_path, content):
    model, loss_at = make()
    fit(model, loss_at, SETTINGS, tmp_path, {})
    path = tmp_path / CHECKPOINT
    path.write_bytes(path.read_bytes()[:-100] if content is None else content)
    with pytest.raises(InputError, match=r"checkpoint\.safetensors: not a training checkpoint"):
        fit(*make(), SETTINGS, tmp_path, {})


def test_only_what_requires_gradients_changes(tmp_path):
    model, loss_at = make()
    before = model[0].weight.clone()
    fit(model, loss_at, SETTINGS, tmp_path, {})
    assert torch.equal(model[0].weight, before) and model[0].weight.grad is None


def test_it_stops_early_and_keeps_the_best(tmp_path):
    model, loss_at = make()
    seen, values = [], iter([3.0, 2.0, 1.0, 4.0, 5.0, 6.0])

    def validate():
        torch.rand(3)  # must not disturb the training
        seen.append(model[4].bias.detach().clone())
        return next(values)

    settings = dataclasses.replace(SETTINGS, ema=0.0, validate_every=2, patience=2)
    journal = fit(model, loss_at, settings, tmp_path, {}, validate=validate)
    assert (journal.step, journal.best) == (8, 4) and "no better" in journal.stopped
    assert torch.equal(model[4].bias, seen[2]) and not torch.equal(seen[2], seen[4])
    plain, plain_loss = make()
    alone = fit(plain, plain_loss, dataclasses.replace(SETTINGS, ema=0.0), tmp_path / "alone", {})
    assert alone.losses[:8] == journal.losses


def test_a_loss_that_is_not_finite_is_an_error(tmp_path):
    model, loss_at = make()
    with pytest.raises(InputError, match="not finite at step 0"):
        fit(model, lambda step: loss_at(step) * float("nan"), SETTINGS, tmp_path, {})


def test_the_learning_rate_rises_then_falls_to_nothing():
    settings = LoopSettings(steps=100, learning_rate=1.0, warmup=0.1)
    rates = [settings.rate(step) for step in range(100)]
    assert rates[:10] == pytest.approx(np.arange(1, 11) / 10)
    assert rates[10] == 1.0 and rates[55] == pytest.approx(0.5) and 0 < rates[-1] < 1e-3
    assert (np.diff(rates[10:]) < 0).all()


@pytest.mark.parametrize(("suffix", "start"), [("svg", b"<?xml"), ("png", b"\x89PNG")])
def test_the_curves_are_a_picture(tmp_path, suffix, start):
    settings = dataclasses.replace(SETTINGS, validate_every=4)
    model, loss_at = make()
    journal = fit(model, loss_at, settings, tmp_path, {}, validate=lambda: 1.0)
    assert draw_curves(journal, tmp_path / f"c.{suffix}", "t").read_bytes().startswith(start)
    assert "losses" in write_journal(journal, tmp_path / "j.json").read_text()

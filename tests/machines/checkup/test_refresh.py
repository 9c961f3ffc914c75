import dataclasses
import json
import os

import numpy as np
import pytest

from echobank.cli import main
from echobank.detection.bank import load_bank
from echobank.errors import ConfigError, InputError
from echobank.machines.checkup.checkup import check_up
from echobank.machines.checkup.next_recordings import harvest_of, narrowed, suggest, surely_healthy
from echobank.machines.checkup.refresh import RefreshPolicy, parse_policy, plan_refresh, refreshed
from echobank.machines.curate import add
from echobank.machines.machine import backend_of, open_machine, rate_and_threshold
from tests.machines.checkup.grown import months
from tests.machines.checkup.simulated import BEGIN, DAY
from tests.machines.sounds import hum, write

POLICY = RefreshPolicy(most=0.2)


@pytest.fixture(scope="module")
def machine(fitted):
    return open_machine(fitted / "banks" / "pump")


@pytest.fixture(scope="module")
def still(machine):
    """Return history and sample of 150 days in which nothing changes."""
    return months(machine, 150, lambda day: 0.0)


def planned(bank, history, sample, now, policy=POLICY):
    checkup = check_up(bank, history, now=now, sample=sample)
    return plan_refresh(bank, sample, checkup, policy, now), checkup


def test_clips_to_listen_to_are_far_from_the_bank_and_from_each_other(machine, still):
    _, sample, _ = still
    candidates = surely_healthy(machine.bank, sample)
    chosen = suggest(machine.bank, candidates, 8)
    assert len(chosen) == 8 and len({one.sampled.window.file for one in chosen}) == 8
    distances = [one.distance for one in chosen]
    assert distances[0] == max(suggest(machine.bank, candidates, len(candidates)), key=lambda it: it.distance).distance
    every = np.stack([one.sampled.vector.ravel() for one in chosen])
    unit = every / np.linalg.norm(every, axis=1, keepdims=True)
    apart = 1 - unit @ unit.T + 2 * np.eye(8)
    assert apart.min() > 0


def test_what_alarms_rests_or_is_known_is_not_suggested(machine, still):
    _, sample, _ = still
    candidates = surely_healthy(machine.bank, sample)
    one = candidates[0]
    rest = dataclasses.replace(one, window=dataclasses.replace(one.window, quiet="schedule"))
    loud = dataclasses.replace(one, window=dataclasses.replace(one.window, decision=1))
    known = dataclasses.replace(one, sha256=machine.bank.rows[0].sha256)
    assert surely_healthy(machine.bank, [rest, loud, known]) == []
    assert all(it.window.heard < BEGIN + 10 * DAY for it in surely_healthy(machine.bank, sample, BEGIN + 10 * DAY))
    far = dataclasses.replace(one, vector=one.vector + 50 * np.ones_like(one.vector))
    near = dataclasses.replace(one.window, id="near", heard=far.window.heard + 3_600_000)
    assert surely_healthy(machine.bank, [far, dataclasses.replace(one, window=near)]) == []


def test_suggestions_become_rows_of_the_state_they_are_nearest_to(machine, still):
    _, sample, _ = still
    chosen = suggest(machine.bank, surely_healthy(machine.bank, sample), 5)
    bank = add(machine.bank, harvest_of(machine.bank, chosen, by="trend"))
    assert len(bank) == len(machine.bank) + 5
    added = [row for row in bank.rows if row.attributes.get("by") == "trend"]
    assert {row.domain for row in added} == {"normal"} and len({row.group for row in added}) == 5
    assert set(bank.extras) == set(machine.bank.extras)
    before, after = narrowed(machine.bank, 40)
    assert after[1] - after[0] < before[1] - before[0]


def test_flags_of_the_bank_need_what_they_are_made_of(machine, still):
    _, sample, _ = still
    bare = [dataclasses.replace(one, traits=np.zeros(0, np.float32)) for one in sample]
    chosen = suggest(machine.bank, surely_healthy(machine.bank, bare), 3)
    with pytest.raises(InputError, match="lacks what they are made of"):
        harvest_of(machine.bank, chosen)


def test_windows_of_a_stream_are_recordings_of_their_own(machine, still):
    _, sample, _ = still
    stream = [
        dataclasses.replace(one, sha256="", window=dataclasses.replace(one.window, file="mic", start=9000.0 + i))
        for i, one in enumerate(sample[:40])
    ]
    chosen = suggest(machine.bank, surely_healthy(machine.bank, stream), 4)
    bank = add(machine.bank, harvest_of(machine.bank, chosen))
    assert len(bank) == len(machine.bank) + 4


def test_a_refresh_of_a_steady_machine_keeps_hold_back_and_budget(machine, still):
    history, sample, _ = still
    now = BEGIN + 150 * DAY
    plan, _ = planned(machine.bank, history, sample, now)
    assert 0 < len(plan.additions) <= int(0.2 * len(machine.bank))
    assert max(one.sampled.window.heard for one in plan.additions) < now - 45 * DAY
    bank = refreshed(machine.bank, plan)
    assert len(bank) == len(machine.bank) + len(plan.additions) - len(plan.removals)
    again, _ = planned(bank, history, sample, now)
    assert len(again.additions) <= int(0.2 * len(bank)) - len(plan.additions)  # within the same thirty days


def test_a_slowly_growing_fault_never_enters_by_refresh(machine):
    """Sixty days from nothing to a plain alarm; refreshed every twenty days, each time with the bank of the last."""
    start = 60

    def severity(day):
        return float(np.clip((day - start) / 60, 0, 1))

    bank = machine.bank
    for today in range(50, 180, 20):
        history, sample, grown = months(machine, today, severity)
        plan, checkup = planned(bank, history, sample, BEGIN + today * DAY)
        assert [grown[one.sampled.window.id] for one in plan.additions if grown[one.sampled.window.id] > 0] == []
        bank = refreshed(bank, plan)
    assert len(bank) > len(machine.bank)  # it did follow the machine while that was healthy
    faulty = np.stack([one.vector for one in sample if grown[one.window.id] >= 11])
    _, threshold = rate_and_threshold(bank)
    assert (backend_of(bank).score(faulty) > threshold).mean() == 1.0
    assert any(it.about == "machine" and it.level == "warning" for it in checkup.findings)


def test_a_change_that_was_settled_does_not_hold_a_refresh_back(machine):
    history, sample, _ = months(machine, 150, lambda day: 0.35 * (day >= 60), high=0.01)
    now = BEGIN + 150 * DAY
    plan, checkup = planned(machine.bank, history, sample, now)
    assert any(it.found is not None and it.level == "warning" for it in checkup.findings)
    assert all(one.sampled.window.heard < BEGIN + 60 * DAY for one in plan.additions)
    assert any("settled=" in line for line in plan.report)
    settled = RefreshPolicy(most=0.2, settled=BEGIN + 90 * DAY)
    report = planned(machine.bank, history, sample, now, settled)[0].report
    assert not any("settled=" in line for line in report)


def test_with_too_little_heard_nothing_is_proposed(machine):
    history, sample, _ = months(machine, 20, lambda day: 0.0)
    plan, _ = planned(machine.bank, history, sample, BEGIN + 400 * DAY)
    assert plan.additions == () and any("not enough data" in line for line in plan.report)


def test_policies_are_read_and_refused():
    assert parse_policy("default") == RefreshPolicy()
    assert parse_policy("hold_back=60d, most=1.5%") == RefreshPolicy(60.0, 0.015)
    assert parse_policy("settled=2025-01-31").settled == BEGIN + 30 * DAY
    for wrong in ("hold_back=3", "most=50%", "most=-1", "speed=2", "hold_back", "settled=soon", "most=nan"):
        with pytest.raises(ConfigError):
            parse_policy(wrong)


@pytest.fixture
def kept(bank, tmp_path):
    """Return a bank with a trend of some recordings that `score` kept."""
    for i in range(6):
        path = write(tmp_path / "later" / f"{i}.wav", hum(4.0, seed=500 + i))
        os.utime(path, (1_700_000_000 + 86_400 * i,) * 2)  # a day apart, so that an alarm is not near all of them
    main(["score", str(bank), str(tmp_path / "later"), "--trend", str(bank / "trend")])
    return bank


def test_add_from_a_trend_is_taken_back_by_undo(kept, capsys):
    before = (kept / "bank.safetensors").read_bytes()
    capsys.readouterr()
    assert main(["checkup", str(kept), "--next", "3", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["next"]
    assert main(["bank", "add", str(kept), "--from-trend", str(kept / "trend"), "--count", "3"]) == 0
    out = capsys.readouterr().out
    assert len(listed) == 3 and all(clip["file"] in out for clip in listed)
    assert len(load_bank(kept / "bank.safetensors")) == len(load_bank_of(before, kept)) + 3
    assert main(["bank", "undo", str(kept)]) == 0
    assert (kept / "bank.safetensors").read_bytes() == before


def load_bank_of(content, folder):
    path = folder / "copy.safetensors"
    path.write_bytes(content)
    return load_bank(path)


def test_refresh_proposes_and_changes_nothing_without_apply(kept, capsys):
    before = (kept / "bank.safetensors").read_bytes()
    assert main(["bank", "refresh", str(kept), "--policy", "default"]) == 0
    assert "not enough data" in capsys.readouterr().out
    assert main(["bank", "refresh", str(kept), "--policy", "default", "--apply"]) == 0
    assert "nothing to change" in capsys.readouterr().out
    assert (kept / "bank.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    "wrong",
    [
        ["add", "BANK"],
        ["add", "BANK", "x.wav", "--from-trend", "t"],
        ["add", "BANK", "--from-trend", "nowhere"],
        ["refresh", "BANK", "--policy", "fast"],
        ["refresh", "BANK", "--policy", "default", "--from-trend", "nowhere"],
    ],
)
def test_wrong_words_are_one_line(bank, capsys, wrong):
    assert main(["bank", *[str(bank) if word == "BANK" else word for word in wrong]]) == 2
    err = capsys.readouterr().err
    assert err.startswith("echobank: ") and err.count("\n") == 1

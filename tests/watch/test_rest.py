"""Rest and mute: heard and not alarmed, by schedule, file and acknowledgement; nothing anomalous becomes normal."""

import json
from datetime import datetime

import numpy as np
import pytest

from echobank.cli import main
from echobank.detection.bank import load_bank
from echobank.errors import BankError, ConfigError
from echobank.machines.nuisance import Nuisance, load_nuisance, matches, save_nuisance, usual_distance
from echobank.watch.engine import WatchSettings
from echobank.watch.rest import PAUSE_FILE, Rest, parse_schedule
from tests.machines.sounds import hum, with_tone, write
from tests.watch.watching import SETTINGS, settle

MONDAY, SATURDAY = datetime(2026, 11, 23), datetime(2026, 11, 28)


@pytest.mark.parametrize(
    ("text", "when", "expected"),
    [
        ("Mon-Fri 06:00-22:00", MONDAY.replace(hour=6), True),
        ("Mon-Fri 06:00-22:00", MONDAY.replace(hour=22), False),
        ("Mon-Fri 06:00-22:00", SATURDAY.replace(hour=12), False),
        ("mon-fri 06:00-22:00, Sat 08:00-13:00", SATURDAY.replace(hour=12), True),
        ("Fri 22:00-06:00", SATURDAY.replace(hour=5), True),
        ("Fri 22:00-06:00", SATURDAY.replace(hour=23), False),
        ("Sun-Mon 00:00-24:00", MONDAY.replace(hour=23, minute=59), True),
        ("06:00-07:00", SATURDAY.replace(hour=6, minute=30), True),
    ],
)
def test_schedules(text, when, expected, tmp_path):
    assert (Rest(tmp_path / "p", parse_schedule(text), lambda: when).reason == "") is expected


@pytest.mark.parametrize("wrong", ["", "always", "Mon-Fry 06:00-22:00", "Mon 25:00-26:00", "Mon 06:61-07:00", "06:00"])
def test_what_is_no_schedule_is_refused(wrong):
    with pytest.raises(ConfigError):
        parse_schedule(wrong)


def odd(folder, name, seed=200, hz=3000.0):
    return write(folder / name, with_tone(hum(4.0, seed=seed), 0.0, 4.0, hz=hz))


def kinds(receiver, *wanted):
    return [m["kind"] for m in receiver.taken if m["kind"] in wanted]


def test_a_paused_machine_is_heard_and_not_alarmed_and_says_so(place, tmp_path):
    start, clock, receiver, folder = place
    watch = start(settings=WatchSettings(k=2, n=3, heartbeat=10.0))
    (tmp_path / "state" / PAUSE_FILE).touch()
    odd(folder, "a.wav")
    settle(watch, clock)
    assert kinds(receiver, "open", "score") == ["score"] * 3
    assert {m["quiet"] for m in receiver.taken if m["kind"] == "score"} == {"paused"}
    clock.now += 11
    watch.step()
    assert [m["paused"] for m in receiver.taken if m["kind"] == "heartbeat"][-1] == "paused"
    watch.resting.resume()
    odd(folder, "b.wav", 201)
    settle(watch, clock)
    assert kinds(receiver, "open") == ["open"] and "quiet" not in receiver.taken[-1]
    watch.resting.pause()
    assert (tmp_path / "state" / PAUSE_FILE).exists()


def test_an_acknowledged_sound_does_not_alarm_until_it_changes(place, fitted, tmp_path, capsys):
    start, clock, receiver, folder = place
    bank, before = fitted / "banks" / "pump", load_bank(fitted / "banks" / "pump" / "bank.safetensors")
    watch = start()
    odd(folder, "a.wav")
    odd(folder, "b.wav", 201)
    settle(watch, clock)
    event = next(m["event"] for m in receiver.taken if m["kind"] == "open")
    words = ["mute", str(bank), event[:8], "--until-changed", "--state", str(tmp_path / "state")]
    assert main(words) == 0 and event in capsys.readouterr().err
    for i in range(3):
        odd(folder, f"c{i}.wav", 210 + i)
    settle(watch, clock)
    closed = next(m for m in receiver.taken if m["kind"] == "close")
    assert closed["quiet"] == f"nuisance {event}" and kinds(receiver, "open") == ["open"]
    assert all(m["decision"] == 1 for m in receiver.taken if m["kind"] == "score")
    assert watch._mutes.counts[event] == 9
    odd(folder, "d.wav", 220, hz=1200.0)  # another fault alarms at once
    settle(watch, clock)
    assert kinds(receiver, "open") == ["open"] * 2
    odd(folder, "e.wav", 221)  # the sound had changed: the same fault is new again
    settle(watch, clock)
    assert "quiet" not in [m for m in receiver.taken if m["kind"] == "score"][-1]
    assert np.array_equal(load_bank(bank / "bank.safetensors").vectors, before.vectors)


def test_a_mute_for_a_time_ends_and_survives_a_restart(place, fitted, tmp_path, monkeypatch):
    start, clock, receiver, folder = place
    odd(folder, "a.wav")
    settle(start(), clock)
    event = next(m["event"] for m in receiver.taken if m["kind"] == "open")
    assert main(["mute", str(fitted / "banks" / "pump"), event, "--for", "2h", "--state", str(tmp_path / "state")]) == 0
    odd(folder, "b.wav", 201)
    settle(start(), clock)
    assert receiver.taken[-1]["quiet"] == f"nuisance {event}"
    path = next((tmp_path / "state" / "mutes").iterdir())
    muted = load_nuisance(path)
    save_nuisance(path, Nuisance(muted.name, muted.vectors, muted.made, {"until": "2020-01-01T00:00:00+00:00"}))
    odd(folder, "c.wav", 202)
    settle(start(), clock)
    assert "quiet" not in receiver.taken[-1]


def test_a_nuisance_is_added_for_good_and_the_bank_stays_as_it_is(place, bank, tmp_path, capsys):
    start, clock, receiver, folder = place
    content = (bank / "bank.safetensors").read_bytes()
    recording = odd(tmp_path, "forklift.wav")
    assert main(["bank", "add", str(bank), str(recording), "--as", "nuisance", "forklift"]) == 0
    assert (bank / "bank.safetensors").read_bytes() == content
    watch = start(bank=bank)
    odd(folder, "a.wav", 201)
    odd(folder, "b.wav", 202, hz=1200.0)
    settle(watch, clock)
    said = {m["file"]: m.get("quiet") for m in receiver.taken if m["kind"] == "score"}
    assert said == {"a.wav": "nuisance forklift", "b.wav": None}
    capsys.readouterr()
    assert main(["bank", "add", str(bank), str(recording), "--as", "friend", "x"]) == 2
    assert main(["bank", "add", str(bank), str(recording), "--as", "nuisance", "../x"]) == 2
    assert capsys.readouterr().err.count("\n") == 2


def test_a_nuisance_that_cannot_be_used_is_a_trouble(place, bank):
    start, clock, _, folder = place
    (bank / "nuisances").mkdir()
    (bank / "nuisances" / "x.nuisance").write_bytes(b"nothing")
    watch = start(bank=bank)
    odd(folder, "a.wav")
    settle(watch, clock)
    assert any("not a nuisance" in trouble for trouble in watch.troubles)


@pytest.mark.parametrize("words", [["nothing", "--until-changed"], ["", "--for", "1h"]])
def test_an_event_that_is_not_there_is_said_in_one_line(fitted, tmp_path, capsys, words):
    assert main(["mute", str(fitted / "banks" / "pump"), *words, "--state", str(tmp_path)]) == 2
    assert "no such event" in capsys.readouterr().err


def test_a_healthy_window_is_never_like_a_nuisance(tmp_path):
    rng = np.random.default_rng(0)
    centre = rng.standard_normal((1, 1, 32))
    healthy = (centre + 0.05 * rng.standard_normal((200, 1, 32))).astype(np.float32)
    other = -centre + 0.05 * rng.standard_normal((5, 1, 32))
    nuisance = Nuisance("n", other.astype(np.float32), {})
    radius = usual_distance(healthy, np.arange(200))
    queries = np.concatenate([healthy[:3] * 1.01, nuisance.vectors + 0.01, rng.standard_normal((4, 1, 32))])
    assert matches(queries.astype(np.float32), [nuisance], healthy, radius) == [""] * 3 + ["n"] * 5 + [""] * 4
    save_nuisance(tmp_path / "n", Nuisance("n", nuisance.vectors, {"a": 1}, {"until": None}))
    assert np.array_equal(load_nuisance(tmp_path / "n", {"a": 1}).vectors, nuisance.vectors)
    with pytest.raises(BankError, match="another encoder"):
        load_nuisance(tmp_path / "n", {"a": 2})


def test_silence_of_a_folder_is_an_event_without_chatter(place, tmp_path):
    start, clock, receiver, folder = place
    settings = WatchSettings(k=2, n=3, heartbeat=10.0, silence_after=300.0)
    watch = start(settings=settings)
    for _ in range(12):
        clock.now += 60
        watch.step()
    watch = start(settings=settings)  # a restart does not open it again
    for _ in range(3):
        clock.now += 60
        watch.step()
    write(folder / "a.wav", hum(2.0))
    settle(watch, clock)
    assert kinds(receiver, "no_sound", "sound") == ["no_sound", "sound"]
    opened, closed = (m for m in receiver.taken if m["kind"] in ("no_sound", "sound"))
    assert opened["event"] == closed["event"] == opened["id"] and opened["seconds"] >= 300
    ages = [m["age"] for m in receiver.taken if m["kind"] == "heartbeat"]
    assert max(ages) > 600 and json.dumps(ages) and SETTINGS.silence_after == 0

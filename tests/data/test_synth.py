"""The synthetic data set: layout, names, sameness of bytes, resuming, and physics that can be heard in the spectrum."""

import csv
import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from echobank.cli import main
from echobank.data.dcase import scan
from echobank.data.synthesis.acoustics import NOISES, factory_noise
from echobank.data.synthesis.machine_types import MACHINES, background, beside, find_machine, record, render
from echobank.data.synthesis.rotating import bearing, fan
from echobank.data.synthesis.signals import RATE, Fault, crossings, noise, shaft
from echobank.data.synthesis.synthetic_set import NOTICE, SCALES, Settings, plan_clips, synthesise
from echobank.data.two_microphones import near_minus_far
from echobank.errors import InputError

TINY = Settings(source=3, target=2, test=2, supplemental=2, seconds=0.5)


def digests(root):
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    root = tmp_path_factory.mktemp("synth") / "data"
    synthesise(root, settings=TINY, workers=1)
    return root


def test_the_reader_takes_every_clip(tiny):
    dataset = scan(tiny)
    assert list(dataset.machines) == sorted(MACHINES)
    assert not dataset.problems
    for name, machine in MACHINES.items():
        train = dataset.select(name, "00", "train")
        assert sorted(r.domain for r in train) == ["source"] * 3 + ["target"] * 2
        assert bool(train[0].attributes) == machine.attributes_known
        test = dataset.select(name, "00", "test")
        assert sorted((r.domain, r.condition) for r in test) == sorted(
            2 * [(d, c) for d in ("source", "target") for c in ("normal", "anomaly")]
        )
        assert {r.role for r in dataset.select(name, "00", "supplemental")} == {machine.supplemental}
    path = dataset.select("fan", "00", "train")[0].path
    info = soundfile.info(path)
    assert (info.samplerate, info.channels, info.subtype, info.frames) == (16000, 1, "PCM_16", 8000)


def test_names_and_attribute_tables_agree(tiny):
    assert (tiny / "dev_data/raw/bearing/train/section_00_source_train_normal_0000_noAttribute.wav").exists()
    assert (tiny / "dev_data/raw/fan/supplemental/section_00_noise_0000_.wav").exists()
    assert (tiny / "dev_data/raw/valve/supplemental/section_00_machine_0000_.wav").exists()
    with (tiny / "dev_data/raw/ToyCar/attributes_00.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 3 + 2 + 8
    for row in rows:
        words = [row[f"d{i}{part}"] for i in (1, 2, 3) for part in "pv"]
        assert row["file_name"].endswith("_" + "_".join(words) + ".wav")


def test_full_scale_is_the_size_of_dcase():
    for machine in MACHINES.values():
        clips = plan_clips(machine, SCALES["full"])
        kinds = [clip.file.split("/")[0] for clip in clips]
        assert [kinds.count(kind) for kind in ("train", "test", "supplemental")] == [1000, 200, 100]
        assert len({clip.file for clip in clips}) == len(clips)
        assert {clip.fault for clip in clips} == {"", *machine.faults}


def test_the_same_bytes_with_other_workers_and_after_an_interruption(tiny, tmp_path):
    one = tmp_path / "one"
    synthesise(one, ["fan", "valve"], TINY, workers=2)
    same = {name: digest for name, digest in digests(tiny).items() if "/fan/" in name or "/valve/" in name}
    assert {name: digest for name, digest in digests(one).items() if name != "synth.json"} == same
    before = digests(one)
    next((one / "dev_data/raw/fan/test").glob("*.wav")).unlink()
    result = synthesise(one, ["fan", "valve"], TINY, workers=1)
    assert (result.written, result.kept) == (1, 29)
    assert digests(one) == before


def test_another_seed_gives_another_machine(tiny, tmp_path):
    synthesise(tmp_path, ["gearbox"], replace(TINY, seed=1), workers=1)
    other = {name: d for name, d in digests(tmp_path).items() if name.endswith(".wav")}
    assert not set(other.values()) & set(digests(tiny).values())


def test_the_settings_are_told_and_a_foreign_folder_is_refused(tiny, tmp_path):
    told = json.loads((tiny / "synth.json").read_text())
    assert told["settings"]["seconds"] == 0.5 and told["notice"] == NOTICE and told["machines"] == list(MACHINES)
    with pytest.raises(InputError, match="other settings"):
        synthesise(tiny, settings=replace(TINY, seed=5))
    (tmp_path / "dev_data").mkdir()
    with pytest.raises(InputError, match="did not make"):
        synthesise(tmp_path, settings=TINY)


@pytest.mark.parametrize(
    ("change", "word"),
    [({"seconds": 0.1}, "length"), ({"source": -1}, "source"), ({"seed": -1}, "seed"), ({"test": 10000}, "test")],
)
def test_impossible_settings(change, word, tmp_path):
    with pytest.raises(InputError, match=word):
        synthesise(tmp_path / "new", settings=replace(TINY, **change))
    assert not (tmp_path / "new").exists()


def test_the_command(tmp_path, capsys):
    words = ["synth", "--out", str(tmp_path), "--machines", "fan", "--train-source", "1", "--train-target", "1"]
    assert main([*words, "--test", "1", "--supplemental", "0", "--seconds", "0.5", "--workers", "1"]) == 0
    said = capsys.readouterr().out
    assert "6 clips made" in said and NOTICE in said and str(tmp_path) in said
    assert main(["synth", "--out", str(tmp_path), "--machines", "valvee"]) == 2
    assert "did you mean valve?" in capsys.readouterr().err


@pytest.mark.parametrize("name", list(MACHINES))
def test_every_machine_and_fault_sounds_finite_and_different(name):
    machine = find_machine(name)
    for condition in machine.source + machine.target:
        healthy = record(machine, 3, condition, None, 1.0, np.random.default_rng(0))
        assert healthy.dtype == np.float32 and healthy.shape == (RATE,)
        assert np.isfinite(healthy).all() and 0.005 < healthy.std() < 0.1 and np.abs(healthy).max() < 1
    for kind in machine.faults:
        sick = record(machine, 3, machine.target[-1], Fault(kind, 0.8), 1.0, np.random.default_rng(0))
        assert np.isfinite(sick).all() and not np.allclose(sick, healthy, atol=1e-4)
    with pytest.raises(InputError, match="no such fault"):
        render(machine, 0, machine.source[0], Fault("rust", 1.0), 0.5, np.random.default_rng(0))


@pytest.mark.parametrize("name", list(MACHINES))
def test_an_individual_is_nearer_to_itself_than_to_others(name):
    machine = MACHINES[name]

    def spectrum(identity, seed):
        clip = render(machine, identity, machine.source[0], None, 4.0, np.random.default_rng(seed))
        power = np.abs(np.fft.rfft(clip)) ** 2
        return np.log(np.add.reduceat(power, np.arange(100, len(power), 160)) + 1e-9)

    spectra = {i: [spectrum(i, seed) for seed in (1, 2)] for i in range(4)}
    for i in spectra:
        to_self = np.linalg.norm(spectra[i][0] - spectra[i][1])
        assert all(to_self < np.linalg.norm(spectra[i][0] - spectra[j][1]) for j in spectra if j != i)


def envelope_level(sound, hz):
    """Level of the squared envelope above 1 kHz at a frequency, over that of its surroundings."""
    spectrum = np.fft.rfft(sound)
    spectrum[: int(1000 * len(sound) / RATE)] = 0
    squared = np.fft.irfft(spectrum, len(sound)) ** 2
    found = np.abs(np.fft.rfft(squared - squared.mean()))
    place, width = hz * len(sound) / RATE, 0.03 * hz * len(sound) / RATE
    near = found[int(place - width) : int(place + width) + 1].max()
    return near / np.median(found[int(0.5 * place) : int(1.5 * place)])


def test_a_race_defect_shows_at_its_fault_frequency():
    individual = np.random.default_rng(11)
    balls, size = int(individual.integers(7, 13)), individual.uniform(0.18, 0.3)
    size *= np.cos(individual.uniform(0, 0.3))
    turn_hz = individual.uniform(14, 24)
    outer, inner = (balls * turn_hz / 2 * (1 + sign * size) for sign in (-1, 1))
    levels = {}
    for kind in ("outer_race", "inner_race"):
        rng = np.random.default_rng(0)
        sound = bearing(np.random.default_rng(11), 1.0, 0.5, Fault(kind, 1.0), 8 * RATE, rng)
        levels[kind] = [envelope_level(sound, hz) for hz in (outer, inner)]
    assert levels["outer_race"][0] > 2 * levels["outer_race"][1]
    assert levels["inner_race"][1] > 2 * levels["inner_race"][0]


def test_an_unbalanced_fan_hums_at_its_shaft_frequency():
    individual = np.random.default_rng(4)
    individual.integers(5, 10)
    turn_hz = individual.uniform(22, 34)
    levels = []
    for fault in (None, Fault("imbalance", 1.0)):
        sound = fan(np.random.default_rng(4), 1.0, 0.5, fault, 4 * RATE, np.random.default_rng(0))
        power = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2
        levels.append(power[int(4 * turn_hz) - 4 : int(4 * turn_hz) + 6].sum())
    assert levels[1] > 10 * levels[0]


@pytest.mark.parametrize("kind", NOISES)
def test_noises_have_unit_power_and_the_ratio_of_a_condition_holds(kind):
    assert np.mean(factory_noise(kind, 2 * RATE, np.random.default_rng(0)) ** 2) == pytest.approx(1.0)
    machine = MACHINES["fan"]
    ratios = []
    for seed in range(40):
        condition = replace(machine.source[0], noise=kind, snr_db=6.0)
        sound = render(machine, 0, condition, None, 0.5, np.random.default_rng(seed))
        ratios.append(20 * np.log10(sound.std() / background(condition, 0.5, np.random.default_rng(seed + 99)).std()))
    assert np.mean(ratios) == pytest.approx(6.0, abs=1.2)


def test_building_blocks():
    rng = np.random.default_rng(0)
    assert len(crossings(shaft(25.0, 4 * RATE, rng, 0.0))) == pytest.approx(100, abs=1)
    power = np.abs(np.fft.rfft(noise(1 << 17, rng, 6.0))) ** 2
    octaves = [power[int(f * 8.192) : int(2 * f * 8.192)].mean() for f in (200, 400, 800)]
    assert 10 * np.log10(octaves[0] / octaves[1]) == pytest.approx(6, abs=0.7)
    assert 10 * np.log10(octaves[1] / octaves[2]) == pytest.approx(6, abs=0.7)


@pytest.mark.parametrize("name", list(MACHINES))
def test_of_two_microphones_the_far_noise_falls_and_the_machine_stays(name):
    machine = find_machine(name)
    condition = machine.source[0]
    alone = render(machine, 0, condition, None, 10.0, np.random.default_rng(0))
    both = record(machine, 0, condition, None, 10.0, np.random.default_rng(0), channels=2)
    noise = both - beside(alone, 2)
    residual = near_minus_far(both[:, 0], both[:, 1])
    left, before = (10 * np.log10(np.mean(x.astype(np.float64) ** 2)) for x in (residual - alone, noise[:, 0]))
    assert left < before - 10
    assert abs(20 * np.log10((residual @ alone) / (alone @ alone))) < 1
    only = background(condition, 10.0, np.random.default_rng(0), channels=2)
    falls = near_minus_far(only[:, 0], only[:, 1]).astype(np.float64).std() / only[:, 0].std()
    assert 20 * np.log10(falls) < -20


def test_two_channels_are_written_beside_each_other_and_one_changes_no_byte(tiny, tmp_path, capsys):
    words = ["--machines", "fan", "valve", "--train-source", "3", "--train-target", "2", "--test", "2"]
    words += ["--supplemental", "2", "--seconds", "0.5", "--workers", "1"]
    assert main(["synth", "--out", str(tmp_path / "one"), *words, "--channels", "1"]) == 0
    same = {name: digest for name, digest in digests(tiny).items() if "/fan/" in name or "/valve/" in name}
    assert {n: digest for n, digest in digests(tmp_path / "one").items() if n != "synth.json"} == same
    assert "channels" not in json.loads((tmp_path / "one" / "synth.json").read_text())["settings"]
    assert main(["synth", "--out", str(tmp_path / "two"), *words, "--channels", "2"]) == 0
    raw = {kind: tmp_path / kind / "dev_data/raw" for kind in ("one", "two")}
    for path in sorted(raw["two"].rglob("*.wav")):
        both, _ = soundfile.read(path, always_2d=True)
        assert both.shape == (8000, 2)
        assert both[:, 1].any() == ("machine" not in path.name.split("_"))
    mono, _ = soundfile.read(next((raw["one"] / "valve/supplemental").iterdir()))
    both, _ = soundfile.read(next((raw["two"] / "valve/supplemental").iterdir()))
    np.testing.assert_array_equal(both[:, 0], mono)
    assert main(["synth", "--out", str(tmp_path / "one"), *words, "--channels", "2"]) == 2
    assert main(["synth", "--out", str(tmp_path / "three"), *words, "--channels", "3"]) == 2
    assert "allowed: 1 or 2" in capsys.readouterr().err

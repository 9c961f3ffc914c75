"""The same sound in two files is one recording, whatever its container; dead microphones are not remembered."""

import csv

import numpy as np
import pytest
import soundfile
import soxr

from echobank.cli import main
from echobank.data.audio import read_clip
from echobank.data.index import ClipFacts
from echobank.data.windows import read_windows
from echobank.detection.bank import load_bank
from echobank.detection.tensor_file import read_tensors, write_tensors
from echobank.machines.archive import bank_file
from echobank.machines.machine import ZERO_THRESHOLD
from echobank.pipeline.train import groups_of
from tests.machines.sounds import RATE, healthy_folder, hum, with_tone, write


def as_flac(path, folder=None):
    """Write a recording once more as FLAC, sample by sample the same."""
    samples, rate = soundfile.read(path, dtype="int16")
    target = (folder or path.parent) / f"{path.stem}.flac"
    target.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(target, samples, rate)
    return target


def test_the_hash_of_sound_is_that_of_the_samples(tmp_path):
    first = write(tmp_path / "a.wav", hum(2.0), 48_000)
    second, tagged = as_flac(first), tmp_path / "tagged.wav"
    tagged.write_bytes(first.read_bytes() + b"LIST\x04\0\0\0INFO")
    other = write(tmp_path / "b.wav", hum(2.0, seed=1), 48_000)
    hashes = [read_clip(path).sound_sha256 for path in (first, second, tagged, other)]
    assert hashes[0] == hashes[1] == hashes[2] != hashes[3]
    windows = [[w.sound_sha256 for w in read_windows(p, seconds=0.5, hop=0.25)] for p in (first, second)]
    assert windows[0] == windows[1] and len(set(windows[0])) == len(windows[0])


def test_a_recording_in_two_containers_is_remembered_once_and_known_in_both(tmp_path, capsys):
    folder = healthy_folder(tmp_path / "h", 4, 2.0)
    for path in sorted(folder.iterdir()):
        as_flac(path)
    fit = ["fit", str(folder), "--machine", "m", "--out", str(tmp_path), "--window", "1s"]
    assert main(fit) == 0
    out = capsys.readouterr().out
    assert "4 independent recordings" in out and "the same recording twice: 00.wav and 00.flac" in out
    bank = load_bank(bank_file(tmp_path / "m"))
    assert {row.file for row in bank.rows} == {f"0{i}.flac" for i in range(4)}
    assert main(["score", str(tmp_path / "m"), str(folder)]) in (0, 1)
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert all("in_bank" in row["flags"] for row in rows)
    assert main(["bank", "add", str(tmp_path / "m"), str(folder / "01.wav")]) == 0
    assert "nothing to change" in capsys.readouterr().out


def test_banks_with_the_same_sound_merge_to_one_of_it(tmp_path, capsys):
    folder = healthy_folder(tmp_path / "one", 4, 2.0)
    for path in sorted(folder.iterdir())[:3]:
        as_flac(path, tmp_path / "two")
    for name in ("one", "two"):
        assert (
            main(["fit", str(tmp_path / name), "--machine", name, "--out", str(tmp_path / "b"), "--window", "1s"]) == 0
        )
    words = ["bank", "merge", str(tmp_path / "b" / "one"), str(tmp_path / "b" / "two"), "--out", str(tmp_path / "both")]
    assert main(words) == 0
    assert len({row.file for row in load_bank(bank_file(tmp_path / "both")).rows}) == 4


def test_a_bank_from_before_hashes_of_sound_knows_its_own_files(bank, fitted, capsys):
    file = bank_file(bank)
    old = load_bank(file)
    text, arrays = read_tensors(file, "echobank")
    write_tensors(file, {name: a for name, a in arrays.items() if "sound_sha256" not in name}, "echobank", text)
    again = load_bank(file)
    assert [row.sha256 for row in again.rows] == [row.sha256 for row in old.rows]
    assert not any(row.sound_sha256 for row in again.rows)
    assert main(["score", str(bank), str(fitted / "healthy" / "00.wav"), str(fitted / "new" / "good.wav")]) in (0, 1)
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert {row["file"].rpartition("/")[2]: "in_bank" in row["flags"] for row in rows} == {
        "00.wav": True,
        "good.wav": False,
    }


def test_copies_alone_are_said_to_be_copies(tmp_path, capsys):
    path = write(tmp_path / "h" / "0.wav", hum(2.0))
    for i in range(1, 8):
        (tmp_path / "h" / f"{i}.wav").write_bytes(path.read_bytes())
    assert main(["fit", str(tmp_path / "h"), "--machine", "m", "--out", str(tmp_path), "--window", "1s"]) == 2
    err = capsys.readouterr().err
    assert "the 8 recordings are 1, the others are copies" in err and "1.wav sounds exactly like 0.wav" in err


def test_a_threshold_of_nothing_is_said_loudly(tmp_path, capsys):
    for i in range(6):  # alike but for the last second
        write(tmp_path / "h" / f"{i}.wav", np.concatenate([hum(3.0), hum(1.0, seed=i + 1)]))
    words = ["fit", str(tmp_path / "h"), "--machine", "m", "--out", str(tmp_path), "--window", "1s", "--hop", "1s"]
    assert main([*words, "--far", "60%"]) == 0
    captured = capsys.readouterr()
    assert ZERO_THRESHOLD in captured.out and ZERO_THRESHOLD in captured.err
    main(["score", str(tmp_path / "m"), str(write(tmp_path / "new.wav", hum(2.0)))])
    assert ZERO_THRESHOLD in capsys.readouterr().err


def test_clips_of_the_same_sound_are_one_group_in_training():
    clips = [ClipFacts(f"{i}", 1, 1, sha256=f"file{i}", sound_sha256=sound) for i, sound in enumerate("aabc")]
    assert groups_of(clips) == {"file0": "file0", "file1": "file0", "file2": "file2", "file3": "file3"}
    assert groups_of(clips[::-1]) == groups_of(clips)
    old = [ClipFacts(f"{i}", 1, 1, sha256=f"file{i % 2}") for i in range(4)]
    assert groups_of(old) == {"file0": "file0", "file1": "file1"}


# -- quality -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000, 192_000])
@pytest.mark.parametrize(("value", "flags"), [(0.0, {"silent"}), (0.0002, {"silent"}), (0.2, {"silent", "dc"})])
def test_a_stuck_value_is_silent_at_every_rate(tmp_path, rate, value, flags):
    path = write(tmp_path / "a.wav", np.full(5 * rate, value), rate)
    for window in read_windows(path, seconds=2.0, hop=1.0):
        assert set(window.flags) == flags
    assert set(read_clip(path).flags) == flags


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
@pytest.mark.parametrize("hop", [0.5, 7.0])
def test_quality_is_judged_on_the_samples_under_the_window(tmp_path, rate, hop, monkeypatch):
    monkeypatch.setattr("echobank.data.decoding._BLOCK_FRAMES", 5_003)
    monkeypatch.setattr("echobank.data.original._DELAY", 1 << 13)
    sound = soxr.resample(hum(20.0), RATE, rate)
    sound[3 * rate : 6 * rate] = 0.01  # stuck from 3 to 6 s
    path = write(tmp_path / "a.wav", sound, rate)
    windows = list(read_windows(path, seconds=1.0, hop=hop))
    assert len(windows) == (39 if hop < 1 else 3)
    for window in windows:
        assert ("silent" in window.flags) == (3 <= window.start <= 5), window.start


def test_a_dead_microphone_is_not_remembered_and_alarms(tmp_path, capsys):
    for i in range(8):
        write(tmp_path / "h" / f"{i}.wav", soxr.resample(hum(4.0, seed=i), RATE, 48_000), 48_000)
    soundfile.write(tmp_path / "h" / "dead.wav", np.full(192_000, -1, np.int16), 48_000)
    soundfile.write(tmp_path / "dead2.wav", np.full(192_000, 7, np.int16), 48_000)
    words = ["fit", str(tmp_path / "h"), "--machine", "m", "--out", str(tmp_path), "--window", "4s"]
    assert main(words) == 3
    assert "dead.wav: silent, not remembered" in capsys.readouterr().err
    assert main(["score", str(tmp_path / "m"), str(tmp_path / "dead2.wav")]) == 1
    assert "silent" in capsys.readouterr().out
    assert main(["score", str(tmp_path / "m"), str(write(tmp_path / "good.wav", with_tone(hum(4.0), 0, 0)))]) in (0, 1)

"""Bad input: one clear line, the documented exit code, and the rest of the run goes on."""

import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.pipeline.dataset import RATE, sound, write_wav


def lines_of(capsys):
    return capsys.readouterr().err.strip().splitlines()


def spoil(path, how):
    if how == "text":
        path.write_text("this is not a recording\n")
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[:5000])
    elif how == "zero-length":
        path.write_bytes(b"")
    elif how == "no samples":
        write_wav(path, np.zeros(0))
    elif how == "nan":
        import soundfile

        samples = sound(np.random.default_rng(0), hz=300).astype(np.float32)
        samples[100] = np.nan
        soundfile.write(path, samples, RATE, subtype="FLOAT")


@pytest.mark.parametrize("how", ["text", "truncated", "zero-length", "no samples", "nan"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_bad_recording_is_skipped_by_name_and_the_rest_goes_on(own_project, capsys, how, split):
    victim = sorted((own_project.root / f"dev_data/raw/fan/{split}").iterdir())[0]
    spoil(victim, how)
    codes = own_project.all()
    err = lines_of(capsys)
    assert codes == ([3, 3, 0] if split == "train" else [3, 0, 3])
    assert sum(victim.name in line and line.startswith("skipped: ") for line in err) == 2
    assert len(own_project.outputs()) == 8  # a bank, two CSVs of the challenge, twice, a table a domain, and the levels


def test_a_silent_clip_trains_nothing_but_is_scored(own_project, capsys):
    for split in ("train", "test"):
        write_wav(sorted((own_project.root / f"dev_data/raw/fan/{split}").iterdir())[0], np.zeros(RATE))
    assert own_project.all() == [0, 3, 0]
    assert "silent, not used for training" in capsys.readouterr().err


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (192000, 1), (44100, 2), (16000, 8)])
def test_any_rate_and_channel_count_is_heard(own_project, rate, channels):
    path = sorted((own_project.root / "dev_data/raw/fan/test").iterdir())[0]
    samples = np.repeat(sound(np.random.default_rng(0), hz=300, seconds=2)[:, None], channels, axis=1)
    write_wav(path, samples, rate)
    assert own_project.all() == [0, 0, 0]


def test_a_channel_that_is_not_there_is_named(own_project, capsys):
    assert own_project.run("preprocess", "data.channel=1") == 2
    assert "channel" in lines_of(capsys)[-1]


def test_names_and_anomalies_that_do_not_belong_are_skipped_by_name(own_project, capsys):
    folder = own_project.root / "dev_data/raw/fan"
    anomaly = "section_00_source_train_anomaly_0099_spd_1.wav"
    shutil.copy(sorted((folder / "train").iterdir())[0], folder / "train" / anomaly)
    shutil.copy(sorted((folder / "train").iterdir())[0], folder / "train" / "my recording.wav")
    assert own_project.run("preprocess") == 3
    err = "\n".join(lines_of(capsys))
    assert anomaly in err and "my recording.wav" in err
    assert own_project.run("train") == 0


@pytest.mark.parametrize(
    ("change", "settings", "words"),
    [
        ("empty folder", [], "no machine"),
        ("no train folder", [], "train"),
        ("missing root", [], "nowhere"),
        ("one domain", ["train.domain=target"], "train.domain"),
        ("k too large", ["model.k=500"], "500"),
        ("unknown machine", ["data.machines=[fam]"], "fan"),
        ("unknown encoder", ["model.embedding=beats_bose"], "beats_base"),
        ("unknown back-end", ["scoring.backend=knnn"], "knn"),
        ("unknown pooling", ["model.pooling=meen"], "mean"),
    ],
)
def test_what_makes_a_run_impossible_is_one_line_and_exit_2(own_project, capsys, change, settings, words):
    root = own_project.root
    folder = root / "dev_data/raw/fan"
    if change == "empty folder":
        shutil.rmtree(root)
        root.mkdir()
    elif change == "no train folder":
        shutil.rmtree(folder / "train")
    elif change == "missing root":
        root = root / "nowhere"
    elif change == "one domain":
        for path in (folder / "train").glob("*target*"):
            path.unlink()
    assert own_project.run("train", *settings, root=root) == 2
    err = lines_of(capsys)
    assert len(err) == 1 and words in err[0] and err[0].startswith("echobank: ")


def test_infer_before_train_says_what_to_do(own_project, capsys):
    assert own_project.run("infer") == 2
    assert "fit it first" in lines_of(capsys)[0]


def test_a_bank_of_other_settings_is_refused_with_both_names(own_project, capsys):
    own_project.run("train")
    capsys.readouterr()
    assert own_project.run("infer", "model.pooling=max") == 2
    (line,) = lines_of(capsys)
    assert "'mean'" in line and "'max'" in line


def test_an_output_folder_that_cannot_be_written_is_named(own_project, capsys):
    own_project.results.write_text("a file where a folder should be")
    assert own_project.run("train") == 2
    assert "cannot write" in lines_of(capsys)[0]


def test_a_full_disk_leaves_no_half_file(own_project, capsys, monkeypatch):
    own_project.run("preprocess")

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("echobank.storage.os.fsync", full)
    assert own_project.run("train") == 2
    assert "No space left on device" in lines_of(capsys)[0]
    assert not own_project.outputs() and not list(own_project.results.rglob("*.tmp"))


@pytest.mark.parametrize("command", ["preprocess", "train", "infer"])
def test_ctrl_c_ends_in_one_line_and_the_next_run_goes_on(own_project, command):
    words = ["preprocess", "train", "infer"]
    for earlier in words[: words.index(command)]:
        own_project.run(earlier)
    settings = [f"data.root={own_project.root}", f"data.cache={own_project.folder / 'cache'}"]
    settings += [f"output.dir={own_project.results}", "model.embedding=logmel_stats"]
    argv = [command, *[word for setting in settings for word in ("--set", setting)]]
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a background shell ignores it
        "import sys, time, echobank.data.audio as audio, echobank.models.pooling as pooling\n"
        "slow = lambda f: lambda *a, **k: (print('working', flush=True), time.sleep(0.3), f(*a, **k))[2]\n"
        "import echobank.models.feeding as e, echobank.pipeline.clips as c\n"
        "e.pool = slow(e.pool); c.read_clip = slow(c.read_clip)\n"
        f"from echobank.cli import main; sys.exit(main({argv!r}))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )
    assert process.stdout is not None
    while process.stdout.readline().strip() != "working":
        assert process.poll() is None
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.strip() == "echobank: interrupted; run the same command again to continue"
    assert own_project.all() == [0, 0, 0]


def test_attributes_that_disagree_are_said_and_the_clip_is_used(own_project, capsys):
    folder = own_project.root / "dev_data/raw/fan"
    name = sorted((folder / "train").iterdir())[0].name
    (folder / "attributes_00.csv").write_text(f"file_name,d1p,d1v\nfan/train/{name},spd,9\n")
    assert own_project.run("preprocess") == 0
    line = lines_of(capsys)[0]
    assert line.startswith("note: ") and name in line and "spd_9" in line and "spd_0" in line

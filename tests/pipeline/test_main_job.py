"""The main job from recordings to the official score, as a user runs it."""

import csv
import json

import numpy as np
import pytest

from echobank.cli import main
from echobank.detection.bank import load_bank
from echobank.models.encoders.logmel_stats import LogmelStats
from tests.pipeline.conftest import Project
from tests.requirements import needs


def scores_of(project, machine="fan"):
    path = project.results / f"anomaly_score_{machine}_section_00_test.csv"
    return {name: float(score) for name, score in csv.reader(path.open())}


def test_the_four_commands_end_with_the_official_score(project, capsys):
    assert project.all("model.k=1") == [0, 0, 0]
    capsys.readouterr()
    assert main(["evaluate", "--results", str(project.results)]) == 0
    *_, last = capsys.readouterr().out.strip().splitlines()
    assert last.startswith("official score: ")
    assert 0.9 < float(last.split(": ")[1]) <= 1  # the fault is a tone that no healthy clip has
    for machine in ("fan", "valve"):
        for name in (
            f"anomaly_score_{machine}_section_00_test.csv",
            f"decision_result_{machine}_section_00_test.csv",
            f"{machine}_source.csv",
            f"{machine}_target.csv",
            f"banks/{machine}_section_00.safetensors",
        ):
            assert (project.results / name).stat().st_size > 0
    assert (project.results / "evaluation.csv").exists()


def test_the_record_of_a_run_says_what_made_the_results(project):
    project.all()
    record = json.loads((project.results / "run.json").read_text())
    for stage in ("train", "infer"):
        assert record[stage]["config"]["model"]["k"] == 3
        assert record[stage]["encoder"]["name"] == "logmel_stats"
        assert record[stage]["versions"]["numpy"] == np.__version__


def test_the_same_run_gives_the_same_bytes(project, dataset, tmp_path):
    settings = ["augmentation.enabled=true", "seed=7"]
    other = Project(dataset, tmp_path / "other")
    assert project.all(*settings) == other.all(*settings) == [0, 0, 0]
    assert project.outputs() == other.outputs()


@pytest.mark.parametrize("settings", [["model.batch_size=1"], ["model.batch_size=5", "data.workers=4"]])
def test_batch_size_and_workers_change_no_score(project, dataset, tmp_path, settings):
    other = Project(dataset, tmp_path / "other")
    project.all("augmentation.enabled=true")
    other.all("augmentation.enabled=true", *settings)
    ours, theirs = scores_of(project), scores_of(other)
    assert list(ours) == list(theirs)
    np.testing.assert_allclose(list(ours.values()), list(theirs.values()), rtol=0, atol=1e-6)


def test_caches_change_no_score_and_are_used(project, monkeypatch):
    project.run("train", "data.logmel_cache=false")
    project.run("infer", "data.logmel_cache=false")
    without = scores_of(project)
    fresh = Project(project.root, project.folder / "fresh")
    fresh.run("preprocess")

    def no_audio(*args, **kwargs):
        raise AssertionError("the audio was read although the caches have everything")

    monkeypatch.setattr("echobank.pipeline.clips.read_clip", no_audio)
    assert [fresh.run("train"), fresh.run("infer")] == [0, 0]
    assert scores_of(fresh) == without


@needs("torch")
def test_a_gpu_without_a_cache_is_given_waveforms(project, monkeypatch):
    project.run("train", "data.logmel_cache=false")
    project.run("infer", "data.logmel_cache=false")
    here = scores_of(project)
    monkeypatch.setattr("echobank.pipeline.run.needs_torch", lambda name: True)
    monkeypatch.setattr("echobank.pipeline.run._on_gpu", lambda device: True)
    given = []
    tokens = LogmelStats.tokens
    monkeypatch.setattr(LogmelStats, "tokens", lambda self, clips, layer: (given.extend(clips), tokens(self, clips))[1])
    device = Project(project.root, project.folder / "device")
    assert [device.run(stage, "data.logmel_cache=false") for stage in ("train", "infer")] == [0, 0]
    assert scores_of(device) == here
    assert len(given) == 2 * (12 + 12) and all(waveform.ndim == 1 for waveform in given)


def test_preprocess_remembers_the_root(project, monkeypatch):
    settings = ["--set", f"data.cache={project.folder / 'cache'}", "--set", f"output.dir={project.results}"]
    settings += ["--set", "model.embedding=logmel_stats"]
    assert main(["preprocess", "--dcase_root", str(project.root), *settings]) == 0
    assert main(["train", *settings]) == 0
    assert main(["infer", *settings]) == 0
    assert scores_of(project)


def test_augmentation_says_what_it_did_and_keeps_copies_out_of_self_scores(project, capsys):
    project.run("train", "augmentation.enabled=true")
    out = capsys.readouterr().out
    assert "snr=0" in out and "pitch=-1" in out and "2 noise clips" in out
    bank = load_bank(project.results / "banks/fan_section_00.safetensors")
    assert len(bank) == 12 * (1 + 5)
    assert len(set(bank.groups)) == 12
    plain = Project(project.root, project.folder / "plain")
    plain.run("train")
    ours = bank.own.scores
    genuine = np.array([not row.augmentation for row in bank.rows])
    theirs = load_bank(plain.results / "banks/fan_section_00.safetensors").own.scores
    assert genuine.sum() == len(theirs) and (ours[genuine] <= theirs + 1e-12).all() and (ours[genuine] > 1e-9).all()


def test_noise_mixing_without_noise_clips_is_said(own_project, capsys):
    for path in (own_project.root / "dev_data/raw/fan/supplemental").iterdir():
        path.unlink()
    assert own_project.run("train", "augmentation.enabled=true") == 0
    assert "no noise was mixed in" in capsys.readouterr().out


def test_one_domain_can_be_asked_for(project):
    project.run("train", "train.domain=target", "model.k=1")
    bank = load_bank(project.results / "banks/fan_section_00.safetensors")
    assert set(bank.domains) == {"target"} and len(bank) == 4


def test_blind_clips_are_scored_as_unknown(own_project):
    folder = own_project.root / "dev_data/raw/fan/test"
    for number, path in enumerate(sorted(folder.iterdir())):
        path.rename(folder / f"section_00_{number:04d}.wav")
    assert own_project.all() == [0, 0, 0]
    rows = list(csv.DictReader((own_project.results / "fan_unknown.csv").open()))
    assert len(rows) == 12 and set(rows[0]) == {"file_name", "anomaly_score", "decision"}

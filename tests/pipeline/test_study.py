"""A study from recordings to its table, through the command line."""

import csv
import json
from math import sqrt
from statistics import fmean, harmonic_mean

import numpy as np
import pytest
import soundfile

from echobank.cli import main
from echobank.models.embedding_store import EmbeddingStore
from echobank.models.feeding import Source, embed, embed_each
from echobank.models.pooling import Pooling
from echobank.models.registry import load_encoder
from tests.headers import made
from tests.pipeline.conftest import Project
from tests.pipeline.dataset import make_dataset


def run_study(project, *grid, settings=()):
    words = [f"data.root={project.root}", f"data.cache={project.folder / 'cache'}", f"output.dir={project.results}"]
    words += ["model.embedding=logmel_stats", *settings]
    return main(["study", *[word for setting in words for word in ("--set", setting)], "--grid", *grid])


def rows(project):
    return list(csv.DictReader((project.results / "study/study.csv").open()))


def test_study_agrees_with_the_main_job_and_goes_on_where_it_was(project, capsys):
    assert project.all("model.k=2") == [0, 0, 0]
    capsys.readouterr()
    assert main(["evaluate", "--results", str(project.results)]) == 0
    score = float(capsys.readouterr().out.splitlines()[-1].split(": ")[1])
    assert run_study(project, "pooling=mean,max", "k=1,2,99") == 0
    out = capsys.readouterr().out
    first = rows(project)
    assert len(first) == 6 and [row["k"] for row in first] == ["1", "2", "99"] * 2
    assert float(first[1]["official_score"]) == pytest.approx(score, abs=1e-12)
    assert first[2]["failure"] and not first[2]["official_score"] and first[2]["failure"] in out
    assert {p.name for p in (project.results / "study").iterdir()} == {"study.csv", "study.md", "study.svg"}
    kept = {path: path.stat().st_mtime_ns for path in (project.folder / "cache/study").iterdir()}
    capsys.readouterr()
    assert run_study(project, "pooling=mean,max", "k=1,2,99", "--json") == 0
    said = json.loads(capsys.readouterr().out)["settings"]
    assert [row["official_score"] for row in said[:2]] == [float(row["official_score"]) for row in first[:2]]
    assert "official_score" not in said[2] and said[2]["failure"] == first[2]["failure"]
    assert rows(project) == first
    assert kept == {path: path.stat().st_mtime_ns for path in (project.folder / "cache/study").iterdir()}


@pytest.mark.parametrize(
    ("grid", "settings", "says"),
    [
        ("backend=knnn", (), "knn"),
        ("pooling=maen", (), "mean"),
        ("k=1", ("augmentation.enabled=true",), "augmentation"),
    ],
)
def test_impossible_studies_are_one_line(project, capsys, grid, settings, says):
    assert run_study(project, grid, settings=settings) == 2
    message = capsys.readouterr().err
    assert says in message and message.count("\n") == 1 and "a bug" not in message


def test_blind_clips_cannot_be_studied(own_project, capsys):
    test = own_project.root / "dev_data/raw/fan/test"
    for number, path in enumerate(sorted(test.iterdir())):
        path.rename(test / f"section_00_{number:04d}.wav")
    assert run_study(own_project, "k=1") == 2
    assert "development set" in capsys.readouterr().err


def test_several_poolings_in_one_pass_equal_one_at_a_time(dataset, tmp_path):
    import soundfile

    encoder = load_encoder("logmel_stats")
    paths = sorted((dataset / "dev_data/raw/fan/test").iterdir())
    calls = []

    def source(path):
        def read():
            calls.append(path)
            return path.stem, encoder.logmel(soundfile.read(path, dtype="float32")[0])

        return Source(path.name, path.stem, read)

    sources = [source(path) for path in paths]
    poolings = [Pooling("mean"), Pooling("max")]
    single = [embed(sources, encoder, pooling) for pooling in poolings]
    stores = [EmbeddingStore(tmp_path, made(pooling=pooling)) for pooling in poolings]
    embed(sources[:3], encoder, poolings[0], store=stores[0])
    calls.clear()
    for _ in range(2):
        together = embed_each(sources, encoder, poolings, stores, batch_size=5)
        for one, other in zip(single, together, strict=True):
            assert (one.kept == other.kept).all() and abs(one.vectors - other.vectors).max() <= 1e-5
    assert sorted(calls) == paths


def test_with_seven_machines_the_interval_over_machines_is_the_jackknife(tmp_path):
    """Made machines: what is tested is the arithmetic, their scores say nothing about real ones."""
    names = ("fan", "valve", "slider", "gearbox", "bearing", "ToyCar", "ToyTrain")
    project = Project(make_dataset(tmp_path / "data", names, noise=0), tmp_path)
    assert run_study(project, "backend=mahalanobis", settings=("model.embedding=spectrum", "model.k=1")) == 0
    for row in rows(project):
        areas = {
            name: [float(row[f"{name}_00_{area}"]) for area in ("auc_source", "auc_target", "pauc")] for name in names
        }
        assert min(map(min, areas.values())) < max(map(max, areas.values()))
        score = harmonic_mean([x for values in areas.values() for x in values])
        without = [harmonic_mean([x for n, values in areas.items() if n != name for x in values]) for name in names]
        error = sqrt(6 / 7 * sum((x - fmean(without)) ** 2 for x in without))
        reach = 2.446911851 * error  # Student's t, 97.5 % with 6 degrees of freedom
        assert float(row["official_score"]) == pytest.approx(score)
        assert float(row["machines_low"]) == pytest.approx(score - reach)
        assert float(row["machines_high"]) == pytest.approx(score + reach)
    text = (project.results / "study/study.md").read_text()
    assert text.count(" section 00: 8 source + 4 target training clips") == 7
    assert text.count("Level alone (distance in dB") == 1


def test_a_study_names_the_settings_that_do_no_better_than_level_or_follow_it(own_project, capsys):
    """Anomalous clips are louder, so that level alone finds every one of them, and so does what hears level."""
    rng = np.random.default_rng(0)
    for path in sorted(own_project.root.rglob("*.wav")):
        samples, rate = soundfile.read(path)
        level = (0.2 if "anomaly" in path.name else 0.1) * rng.uniform(0.95, 1.05)
        soundfile.write(path, level * samples / samples.std(), rate)
    settings = ("model.embedding=logmel_stats+level", "model.k=1")
    grid = "backend=knn@logmel_stats,knn@level"
    assert run_study(own_project, grid, settings=settings) == 0
    said = capsys.readouterr().out.splitlines()
    assert any(line.startswith("Level alone") and "official score 100.0 %" in line for line in said)
    (worse,) = [line for line in said if line.startswith("No better than level alone: ")]
    (follow,) = [line for line in said if line.startswith("Scores mostly follow level")]
    assert "every setting" in worse or "knn@level" in worse
    assert "every setting" in follow or "knn@level" in follow
    assert follow in (own_project.results / "study" / "study.md").read_text().replace("- Scores", "Scores")
    assert run_study(own_project, grid, "--json", settings=settings) == 0
    assert json.loads(capsys.readouterr().out)["level"][0].startswith("Level alone")

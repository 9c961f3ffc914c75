"""The spectrum detector alone, and inside min-fusion beside an encoder, through the stages and for an own machine."""

import csv
from pathlib import Path

import numpy as np
import pytest

from echobank.cli import main
from echobank.config import load_config
from echobank.detection.backends import make_backend
from echobank.detection.bank import load_bank

ALONE = ("model.embedding=spectrum", "scoring.backend=mahalanobis", "scoring.metric=euclidean")
MEMBERS = "knn@logmel_stats:k=1+mahalanobis@spectrum:metric=euclidean"
FUSED = (
    "model.embedding=logmel_stats+spectrum",
    "scoring.backend=min_fusion",
    f"scoring.params={{members: '{MEMBERS}'}}",
)


def scores(project):
    found = {}
    for path in sorted(project.results.glob("anomaly_score_*.csv")):
        for name, score in csv.reader(path.open()):
            found[path.name, name] = float(score)
    return found


def test_the_shipped_configuration_is_the_spectrum_with_shrunk_mahalanobis():
    shipped = load_config(Path(__file__).parents[2] / "configs/spectrum.yaml")
    assert shipped == load_config(None, ALONE)


@pytest.mark.parametrize("pooling", ["mean", "rdp"])
def test_fusion_is_the_least_z_of_two_runs_of_their_own(project, pooling):
    pooled = f"model.pooling={pooling}"
    own = []
    for settings in (("model.k=1",), ALONE):
        assert project.all(pooled, *settings) == [0, 0, 0]
        banks = {path.name: load_bank(path) for path in (project.results / "banks").iterdir()}
        own.append((scores(project), {name: bank.own.scores for name, bank in banks.items()}))
    assert project.all(pooled, *FUSED) == [0, 0, 0]
    fused = scores(project)
    assert len(fused) == 24
    for (file, name), score in fused.items():
        bank = file.replace("anomaly_score_", "").replace("_test.csv", ".safetensors")
        z = [(given[file, name] - usual[bank].mean()) / usual[bank].std() for given, usual in own]
        assert score == pytest.approx(min(z), rel=1e-5, abs=1e-5)


def test_a_bank_of_joined_encoders_knows_them(project, capsys):
    assert project.all(*FUSED) == [0, 0, 0]
    bank = load_bank(project.results / "banks/fan_section_00.safetensors")
    again = make_backend("min_fusion", k=3, metric="cosine", params={"members": MEMBERS}).fit(bank).self_scores()
    np.testing.assert_allclose(again, bank.own.scores, rtol=1e-9)
    assert project.run("infer", "model.embedding=spectrum+logmel_stats", *FUSED[1:]) == 2
    assert "encoder.name" in capsys.readouterr().err
    assert project.run("train", *FUSED[:1], "scoring.backend=knn@soundnet") == 2
    assert "its parts are logmel_stats, spectrum" in capsys.readouterr().err


def test_a_study_compares_parts_and_their_fusion(project, capsys):
    settings = (f"data.root={project.root}", f"data.cache={project.folder / 'cache'}", f"output.dir={project.results}")
    words = [word for setting in (*settings, *FUSED[:1], "model.k=1") for word in ("--set", setting)]
    grid = ["pooling=mean,gem", f"backend=knn@logmel_stats,mahalanobis@spectrum,min_fusion:members=({MEMBERS})"]
    assert main(["study", *words, "--grid", *grid]) == 0
    rows = list(csv.DictReader((project.results / "study/study.csv").open()))
    assert len(rows) == 6 and all(row["official_score"] for row in rows)
    assert rows[2]["backend"] == f"min_fusion:members=({MEMBERS})"
    assert project.all("model.pooling=gem", *FUSED) == [0, 0, 0]
    capsys.readouterr()
    assert main(["evaluate", "--results", str(project.results)]) == 0
    official = float(capsys.readouterr().out.splitlines()[-1].split(": ")[1])
    assert float(rows[5]["official_score"]) == pytest.approx(official, abs=1e-12)


def test_an_own_machine_takes_both(project, tmp_path):
    from echobank import Detector

    train, test = (project.root / "dev_data/raw/fan" / part for part in ("train", "test"))
    detector = Detector("fan", seconds=0.6, hop=0.6, settings=FUSED).fit(train)
    verdicts = detector.score(test)
    assert len(verdicts) == 12 and all(np.isfinite(verdict.score) for verdict in verdicts)
    assert detector.explain(min(test.iterdir())).sentences

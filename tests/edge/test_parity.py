"""A package scores as its bank does: every encoder, pooling and back-end that can go, at every rate of a recorder."""

from types import SimpleNamespace

import numpy as np
import pytest
import soxr

from echobank.edge.parity import EdgeRunner, compare_package, cuts, read_samples
from echobank.errors import BankError
from echobank.machines.machine import open_machine
from tests.edge.machines import compared, fit, random_soundnet

KNN = ("model.k=1",)
FUSION = ("scoring.backend=mean_fusion", "scoring.params={members: knn+mahalanobis+ldn:K=2+pca, z: robust}")
CASES = {
    "logmel_stats": ("logmel_stats", KNN),
    "level": ("level", ("model.k=2", "scoring.metric=euclidean")),
    "default": ("logmel_stats", ("scoring.backend=ldn", "scoring.params={K: 4}")),
    "percentiles": ("level_percentiles", ("scoring.metric=euclidean",)),
    "crest": ("level_crest+level_kurtosis+level_flatness", ("scoring.metric=euclidean",)),
    "spectrum": ("spectrum", ("model.pooling=gem",)),
    "rdp": ("spectrum_96", ("model.pooling=rdp", "scoring.backend=ldn", "scoring.params={K: 3, form: log}")),
    "rdp_gem": ("spectrum", ("model.pooling=rdp_gem", "scoring.backend=mahalanobis")),
    "ldn": (
        "spectrum",
        ("scoring.metric=euclidean", "scoring.backend=ldn", "model.k=2", "scoring.params={form: difference}"),
    ),
    "source": ("spectrum", ("scoring.backend=mahalanobis", "scoring.params={covariance: source, level: remove}")),
    "fusion": ("spectrum", FUSION),
    "min": ("spectrum+level", ("scoring.backend=min_fusion", "scoring.params={members: knn@spectrum+knn@level}")),
    "max": (
        "logmel_stats+level",
        ("scoring.backend=max_fusion", "scoring.params={members: ldn@logmel_stats+knn@level}"),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_scores_decisions_and_neighbours_are_those_of_the_bank(name, healthy, new, tmp_path):
    encoder, settings = CASES[name]
    bank = fit(tmp_path / "banks", healthy, encoder, *settings)
    result = compared(bank, tmp_path / "pump.edge", new[16_000])
    assert (result.windows, result.recordings, result.left_out) == (7, 3, ())
    share = 1e-5 if name == "max" else 1e-6  # its z-scores are differences of scores that are nearly equal
    assert result.largest < share and not result.decisions and not result.neighbours


@pytest.mark.parametrize("rate", (22_050, 44_100, 48_000))
@pytest.mark.parametrize("name", ("logmel_stats", "level"))
def test_other_rates_agree_up_to_the_ends_of_a_recording(name, rate, healthy, new, tmp_path):
    encoder, settings = CASES[name]
    bank = fit(tmp_path / "banks", healthy, encoder, *settings)
    result = compared(bank, tmp_path / "pump.edge", new[rate], rate)
    assert result.windows == 7 and result.largest < 1e-5 and not result.decisions and not result.neighbours


@pytest.mark.parametrize("rate", (22_050, 48_000))
@pytest.mark.parametrize("encoder", ("soundnet", "soundnet+level"))
def test_soundnet(encoder, rate, healthy, new, tmp_path, monkeypatch):
    with random_soundnet(tmp_path) as weights:
        monkeypatch.setattr("echobank.models.weights.soundnet_weights.obtain", lambda *_: weights)
        bank = fit(tmp_path / "banks", healthy, encoder)
        result = compared(bank, tmp_path / "pump.edge", new[rate], rate)
    assert result.windows == 7 and result.largest < 1e-5 and not result.decisions and not result.neighbours


def test_recordings_at_another_rate_are_left_out_by_name(bank, new, tmp_path):
    result = compared(bank, tmp_path / "pump.edge", [*new[48_000][:1], *new[16_000]])
    assert result.recordings == 3
    assert [(file, "48000 Hz" in reason) for file, reason in result.left_out] == [(str(new[48_000][0]), True)]


def test_a_package_of_another_state_of_the_bank_is_refused(bank, healthy, new, tmp_path):
    compared(bank, tmp_path / "pump.edge", new[16_000])
    other = fit(tmp_path / "banks", healthy / "slow", "logmel_stats")
    with pytest.raises(BankError, match="another state"):
        compare_package(open_machine(other), other, tmp_path / "pump.edge", new[16_000])


def test_the_graph_says_p_value_and_row(bank, new, tmp_path):
    compared(bank, tmp_path / "pump.edge", new[16_000])
    machine, runner = open_machine(bank), EdgeRunner(tmp_path / "pump.edge")
    for path in new[16_000]:
        (heard,) = machine.listener.hear([path])
        for verdict, scored in zip(machine.judge(heard), runner.score(read_samples(path, runner.facts)), strict=True):
            assert scored.p_value == pytest.approx(verdict.p_value, rel=1e-12)
            assert (round(scored.start, 3), round(scored.seconds, 3)) == (verdict.start, verdict.seconds)
            file, start = runner.facts.rows[scored.nearest]
            assert (file, start) == (verdict.nearest, verdict.nearest_start)


@pytest.mark.parametrize(("rate", "wanted"), ((48_000, 22_050), (96_000, 22_050), (44_100, 16_000), (16_000, 16_000)))
def test_the_last_window_ends_where_the_resampler_ends(rate, wanted):
    facts = SimpleNamespace(sample_rate=rate, encoder_rate=wanted, window_samples=1000, hop_samples=333.3)
    ties = [length for length in range(4_000, 40_000) if 2 * length * wanted % (2 * rate) == rate]
    for length in (*ties[:40], 4_001, 4_567, 30_011):
        expected = len(soxr.resample(np.zeros(length, np.float32), rate, wanted))
        begin, count = list(cuts(length, facts))[-1]
        assert begin + count == expected

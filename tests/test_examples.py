"""The examples run as they stand, and show what they say."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import echobank
from echobank.detection.backends import register_backend
from echobank.errors import ConfigError
from echobank.models.registry import register_encoder
from echobank.models.weights.cards import CARDS, Card

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name, folder):
    source = Path(echobank.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(source), "ECHOBANK_CACHE": str(folder / "weights")}
    words = [sys.executable, str(EXAMPLES / f"{name}.py")]
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_machine_from_arrays(tmp_path):
    said = run("own_machine_from_arrays", tmp_path)
    assert re.findall(r"(healthy|squealing) .* (ANOMALOUS|normal)", said).count(("squealing", "ANOMALOUS")) == 3
    assert "healthy  0.0 s" in said and "between 2." in said


def test_endless_sound_from_a_generator(tmp_path):
    said = run("live_from_generator", tmp_path).splitlines()
    alarm = next(number for number, line in enumerate(said) if line.startswith("ALARM"))
    assert "since 11.0 s" in said[alarm] and "13.0 s" in said[alarm - 1]
    assert sum("anomalous" in line for line in said[: alarm - 3]) <= 1


def test_a_backend_of_ones_own(tmp_path):
    said = run("custom_backend", tmp_path).splitlines()
    assert [line.split(":")[0].strip() for line in said] == ["knn", "ldn", "median_distance"]
    healthy, odd = map(float, re.findall(r"0\.\d+", said[2]))
    assert odd < 0.05 < healthy


def test_an_encoder_of_ones_own(tmp_path):
    said = run("custom_encoder", tmp_path)
    assert re.search(r"healthy: score .* normal", said) and re.search(r"squealing: score .* anomalous", said)


def test_a_study(tmp_path):
    said = run("compare_settings", tmp_path)
    assert len(re.findall(r"^ *\d+\.\d\d \(", said, re.MULTILINE)) == 6
    assert (tmp_path / "study_example/results/study/study.md").is_file()


def test_every_example_is_listed_and_tested():
    page = (EXAMPLES / "README.md").read_text("utf-8")
    scripts = {path.stem for path in EXAMPLES.glob("*.py")} - {"pump"}
    assert scripts == set(re.findall(r"\[`(\w+)\.py`\]", page))
    assert all(f'run("{name}"' in Path(__file__).read_text("utf-8") for name in scripts)


def test_names_of_echobank_cannot_be_taken():
    with pytest.raises(ConfigError, match="a name of its own"):
        register_backend("knn", dict)
    with pytest.raises(ConfigError, match="a dataclass with k and metric"):
        register_backend("mine", dict)
    with pytest.raises(ConfigError, match="a name and a kind of its own"):
        register_encoder(Card("level", kind="mine"), lambda *_: None)
    assert CARDS["level"].kind == "level"

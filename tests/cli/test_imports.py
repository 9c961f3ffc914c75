"""What commands load: heavy libraries only where they are used, and torch nowhere that does without it."""

import csv
import io
import os
import subprocess
import sys

import pytest

from echobank.cli import COMMANDS
from echobank.config import load_config
from echobank.errors import ConfigError
from echobank.pipeline.run import Run
from tests.machines.sounds import healthy_folder, hum, write

HEAVY = {"torch", "scipy.stats", "scipy.signal", "sklearn", "matplotlib", "pandas", "pyarrow", "paho", "requests"}
SCORE_LOADS = {  # all that `echobank score` may load beside Python's own modules
    "_cffi_backend",  # of soundfile
    "_soundfile",
    "_soundfile_data",
    "cffi",
    "echobank",
    "filelock",  # of tables that two runs must not write at once
    "numpy",
    "platformdirs",
    "safetensors",
    "scipy",  # a few modules of it, none of those above
    "soundfile",
    "soxr",
    "threadpoolctl",
    "typing_extensions",
}
LOADER = {"__main__", "_distutils_hack", "_virtualenv", "__editables_finder__", "__mp_main__"}
RUN = "import sys\nfrom echobank.cli import main\ncode = main(sys.argv[1:])\n"
TELL = "print(*sorted(sys.modules), sep='\\n', file=sys.stderr)\nsys.exit(code)"
NO_TORCH = "import sys\nsys.modules['torch'] = None\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with healthy/ and new.wav."""
    root = tmp_path_factory.mktemp("machine")
    healthy_folder(root / "healthy")
    write(root / "new.wav", hum(seed=100))
    return root


def python(code, folder, *arguments):
    environment = {**os.environ, "ECHOBANK_CACHE": str(folder / "weights"), "PIP_NO_INDEX": "1"}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )


def fit(code, folder, encoder, out):
    options = ["--machine", encoder, "--out", out, "--window", "2s", "--set", f"model.embedding={encoder}"]
    options += ["--set", "scoring.metric=euclidean"]  # the only one that means something of levels
    return python(code, folder, "fit", "healthy", *options)


@pytest.mark.parametrize("encoder", ["logmel_stats", "spectrum", "level"])
def test_score_without_a_report_loads_no_heavy_library(folder, encoder):
    assert fit(RUN + "sys.exit(code)", folder, encoder, "banks").returncode == 0
    done = python(RUN + TELL, folder, "score", f"banks/{encoder}", "new.wav")
    assert done.returncode in (0, 1), done.stderr
    loaded = set(done.stderr.splitlines())
    assert "echobank.machines.score" in loaded
    assert not loaded & HEAVY
    assert "echobank.machines.page" not in loaded
    libraries = {name.partition(".")[0] for name in loaded if " " not in name} - set(sys.stdlib_module_names) - LOADER
    assert not {name for name in libraries if not name.startswith("__editable__")} - SCORE_LOADS


def test_a_watch_loads_no_library_of_a_sink_that_is_not_there(folder):
    assert fit(RUN + "sys.exit(code)", folder, "logmel_stats", "banks").returncode == 0
    done = python(RUN + TELL, folder, "watch", "banks/logmel_stats", "healthy", "--once", "--csv", "watch.csv")
    assert done.returncode == 0, done.stderr
    loaded = set(done.stderr.splitlines())
    assert "echobank.watch.engine" in loaded
    assert not loaded & HEAVY


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_loads_no_heavy_library(folder, command):
    code = "import sys\nfrom echobank.cli import main\n"
    code += "try: main(sys.argv[1:])\nexcept SystemExit as stop: code = stop.code\n"
    done = python(code + TELL, folder, command, "--help")
    assert done.returncode == 0, done.stderr
    allowed = {"requests"} if command == "download" else set()
    assert not set(done.stderr.splitlines()) & HEAVY - allowed


@pytest.mark.parametrize("encoder", ["logmel_stats", "spectrum", "level"])
def test_without_torch_scores_are_the_same(folder, encoder):
    scores = []
    for name, start in (("with", ""), ("without", NO_TORCH)):
        done = fit(start + RUN + "sys.exit(code)", folder, encoder, name)
        assert done.returncode == 0, done.stderr
        done = python(start + RUN + "sys.exit(code)", folder, "score", f"{name}/{encoder}", "new.wav")
        assert done.returncode in (0, 1), done.stderr
        scores.append([float(row["score"]) for row in csv.DictReader(io.StringIO(done.stdout))])
    assert len(scores[0]) > 1 and scores[0] == pytest.approx(scores[1], rel=0, abs=1e-12)


@pytest.mark.parametrize(
    "arguments",
    [
        ["fit", "healthy", "--machine", "m", "--set", "model.embedding=beats_base"],
        ["fit", "healthy", "--machine", "m", "--set", "model.embedding=spectrum+beats_base"],
        ["export", "beats_base", "--out", "out"],
        ["finetune", "--set", "data.root=healthy"],
        ["distil", "--teacher", "spectrum", "--out", "out"],
    ],
)
def test_what_needs_torch_names_the_extra_in_one_line(folder, arguments):
    done = python(NO_TORCH + RUN + "sys.exit(code)", folder, *arguments)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert "needs torch, which is not installed; pip install 'echobank[beats]'" in last
    assert "Traceback" not in done.stderr


def test_clips_are_not_read_for_an_encoder_that_cannot_run(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ConfigError, match=r"beats_base needs torch.*echobank\[beats\]"):
        Run(load_config(None, [])).reader  # noqa: B018 - a property that is made when it is asked for

"""The package: what lies in it, that it runs without echobank, and what is refused."""

import csv
import io
import json
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from echobank.cli import main
from echobank.edge.assembly import assemble_graph
from echobank.edge.bundle import read_facts
from echobank.edge.nodes import DATA, Graph
from echobank.edge.parity import EdgeRunner
from echobank.errors import BankError
from echobank.machines.machine import open_machine
from tests.edge.machines import fit

# Runs a script where only the standard library, numpy and onnxruntime can be imported.
ALONE = """
import runpy, sys
class Only:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("echobank", "torch", "scipy", "soundfile", "soxr", "sklearn", "onnx"):
            raise ImportError(name)
sys.meta_path.insert(0, Only())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def package(bank, tmp_path_factory):
    out = tmp_path_factory.mktemp("packages") / "pump.edge"
    assert main(["export", str(bank), "--out", str(out)]) == 0
    return out


def alone(package, *words, fed=None):
    command = [sys.executable, "-c", ALONE, str(package / "run.py"), *words]
    return subprocess.run(command, capture_output=True, input=fed, check=False)


def verdicts(bank, paths):
    machine = open_machine(bank)
    return [verdict for heard in machine.listener.hear(paths) for verdict in machine.judge(heard)]


def same(rows, expected):
    assert len(rows) == len(expected)
    for row, verdict in zip(rows, expected, strict=True):
        assert float(row["score"]) == pytest.approx(verdict.score, rel=1e-5)
        assert float(row["p_value"]) == pytest.approx(verdict.p_value, rel=1e-9)
        found = (float(row["start"]), float(row["seconds"]), int(row["decision"]), row["nearest"])
        assert found == (verdict.start, verdict.seconds, verdict.decision, verdict.nearest)


def test_run_py_is_short_and_needs_neither_echobank_nor_anything_but_numpy_and_onnxruntime(bank, package, new):
    lines = (package / "run.py").read_text().splitlines()
    assert sum(bool(line.strip()) for line in lines) < 60 and max(map(len, lines)) <= 120
    done = alone(package, *map(str, new[16_000]))
    assert (done.returncode, done.stderr) == (0, b"")
    same(list(csv.DictReader(io.StringIO(done.stdout.decode()))), verdicts(bank, new[16_000]))


@pytest.mark.parametrize("rate", (16_000, 44_100))
def test_pcm_on_standard_input_gives_json_lines(bank, new, rate, tmp_path):
    assert main(["export", str(bank), "--out", str(tmp_path / "pump.edge"), "--rate", str(rate)]) == 0
    for path in new[rate]:
        pcm = soundfile.read(path, dtype="int16")[0].astype("<i2").tobytes()
        done = alone(tmp_path / "pump.edge", "--json", "-", fed=pcm)
        same([json.loads(line) for line in done.stdout.splitlines()], verdicts(bank, [path]))


@pytest.mark.parametrize("form", ("WAV", "WAVEX"))
@pytest.mark.parametrize("kind", ("PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"))
def test_widths_of_samples(package, kind, form, tmp_path):
    sound = np.random.default_rng(0).normal(0, 0.1, (32_000, 2)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", sound, 16_000, kind, format=form)
    samples = soundfile.read(tmp_path / "a.wav", dtype="float32")[0][:, 0]
    (scored,) = EdgeRunner(package).score(samples)
    done = alone(package, "--json", str(tmp_path / "a.wav"))
    assert json.loads(done.stdout)["score"] == scored.score


@pytest.mark.parametrize(
    "content", (b"", b"RIFF", b"no sound", b"RIFF\0\0\0\0WAVEdata\x04\0\0\0abcd", b"fmt \4\0\0\0abcd")
)
def test_what_is_no_wav_file(package, content, tmp_path):
    (tmp_path / "a.wav").write_bytes(content)
    done = alone(package, str(tmp_path / "a.wav"))
    assert done.returncode == 3 or (b"data" in content and not done.returncode)
    assert b"Traceback" not in done.stderr


def test_what_stands_behind_the_sound_is_not_heard(package, tmp_path):
    samples = np.random.default_rng(0).integers(-3000, 3000, 32_000, np.int16)
    soundfile.write(tmp_path / "a.wav", samples, 16_000)
    with (tmp_path / "a.wav").open("ab") as file:
        file.write(b"LIST\xa0\x0f\0\0" + bytes(4000))
    done = alone(package, "--json", str(tmp_path / "a.wav"))
    (scored,) = EdgeRunner(package).score(samples.astype(np.float32) / 2**15)
    assert [json.loads(line)["score"] for line in done.stdout.splitlines()] == [scored.score]


def test_a_file_that_cannot_be_scored_is_named_and_the_others_go_on(package, new, tmp_path):
    (tmp_path / "broken.wav").write_text("no sound")
    done = alone(package, str(tmp_path / "broken.wav"), str(new[48_000][0]), str(new[16_000][0]))
    assert done.returncode == 3 and len(done.stdout.splitlines()) == 2
    assert b"broken.wav" in done.stderr and b"48000 Hz" in done.stderr


def test_the_package_says_what_it_hears(bank, package):
    facts, machine = read_facts(package), open_machine(bank)
    assert (facts.machine, facts.revision, facts.sample_rate, facts.window_seconds) == ("pump", 1, 16_000, 2.0)
    assert (facts.threshold, facts.made_by) == (machine.threshold, machine.listener.provenance)
    assert [file for file, _ in facts.rows] == [row.file for row in machine.bank.rows]
    assert "16000 Hz" in (package / "README.txt").read_text()


def test_the_same_bank_gives_the_same_bytes_and_one_bit_another_package(bank, package, tmp_path):
    assert main(["export", str(bank), "--out", str(tmp_path / "again")]) == 0
    for file in filter(Path.is_file, package.rglob("*")):
        assert (tmp_path / "again" / file.relative_to(package)).read_bytes() == file.read_bytes(), file.name
    content = bytearray((bank / "bank.safetensors").read_bytes())
    content[_first_vector(content)] ^= 1
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "bank.safetensors").write_bytes(content)
    assert main(["export", str(tmp_path / "other"), "--out", str(tmp_path / "again")]) == 0
    for name in ("machine.onnx", "edge.json"):
        assert (tmp_path / "again" / name).read_bytes() != (package / name).read_bytes()


def _first_vector(content):
    length = int.from_bytes(content[:8], "little")
    return 8 + length + json.loads(content[8 : 8 + length])["vectors"]["data_offsets"][0]


@pytest.mark.parametrize("name", ("machine.onnx", "edge.json"))
def test_a_graph_and_facts_that_do_not_belong_together_are_refused(package, new, name, tmp_path):
    mixed = tmp_path / "mixed"
    shutil.copytree(package, mixed)
    content = (mixed / name).read_bytes()
    facts = read_facts(package)
    (mixed / name).write_bytes(content.replace(facts.bank_sha256.encode(), b"0" * 64))
    done = alone(mixed, str(new[16_000][0]))
    assert done.returncode == 2 and b"do not belong together" in done.stderr and not done.stdout
    with pytest.raises(BankError):
        EdgeRunner(mixed)


def test_check_says_how_far_both_are_apart(bank, new, tmp_path, capsys):
    words = ["export", str(bank), "--out", str(tmp_path / "pump.edge"), "--check", str(new[16_000][0].parent)]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "over 7 windows of 3 recordings" in said and "0 decisions differ, 0 nearest" in said


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (("scoring.backend=gmm",), "these can be exported: knn, ldn, mahalanobis"),
        (("model.pooling=gwrp",), "these can be exported: mean, max, gem"),
        (("model.embedding=level_octaves", "scoring.metric=euclidean"), "level_percentiles"),
    ],
)
def test_what_has_no_graph_is_refused_with_what_can_go_and_nothing_is_written(
    settings, says, healthy, tmp_path, capsys
):
    bank = fit(tmp_path / "banks", healthy, "logmel_stats", *settings)
    capsys.readouterr()
    assert main(["export", str(bank), "--out", str(tmp_path / "pump.edge")]) == 2
    assert says in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["banks"]


def test_a_bank_of_two_microphones_is_refused(healthy, tmp_path, capsys):
    for path in sorted(healthy.rglob("*.wav")):
        near, rate = soundfile.read(path)
        far = 0.01 * np.random.default_rng(0).standard_normal(len(near))
        (tmp_path / "two").mkdir(exist_ok=True)
        soundfile.write(tmp_path / "two" / f"{path.parent.name}-{path.name}", np.stack([near, far], axis=1), rate)
    bank = fit(tmp_path / "banks", tmp_path / "two", "logmel_stats", "data.channel=w1")
    capsys.readouterr()
    assert main(["export", str(bank), "--out", str(tmp_path / "pump.edge")]) == 2
    assert "w1 cannot go into an edge package" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.edge"))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--rate", "20"], "not a rate of a recorder"),
        (["--layer", "1"], "--layer is for an encoder"),
        (["--far", "0.001"], "support a false-alarm rate"),
    ],
)
def test_options_that_do_not_fit(bank, words, says, tmp_path, capsys):
    assert main(["export", str(bank), "--out", str(tmp_path / "pump.edge"), *words]) == 2
    assert says in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_a_folder_of_something_else_is_left_alone(bank, tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    assert main(["export", str(bank), "--out", str(tmp_path / "mine")]) == 2
    assert "not an edge package" in capsys.readouterr().err
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_options_of_a_bank_are_refused_for_an_encoder(tmp_path, capsys):
    assert main(["export", "logmel_stats", "--out", str(tmp_path), "--rate", "48000"]) == 2
    assert "--rate is for a bank" in capsys.readouterr().err


@pytest.fixture
def large(bank, tmp_path, monkeypatch, capsys):
    """A package whose arrays are in a file of their own, as those of a bank above 1 GiB."""
    monkeypatch.setattr("echobank.edge.bundle.EXTERNAL_BYTES", 1000)
    monkeypatch.setattr("echobank.cli.export._LARGE", 1000)
    assert main(["export", str(bank), "--out", str(tmp_path / "large.edge")]) == 0
    assert capsys.readouterr().out.startswith("the package will have about")
    return tmp_path / "large.edge"


def test_a_large_bank_goes_beside_the_graph(large, package, new):
    assert (large / "machine.data").stat().st_size > (large / "machine.onnx").stat().st_size > 0
    assert not (large / "index.html").exists() and not (large / "vendor").exists()
    done, whole = (alone(folder, *map(str, new[16_000])) for folder in (large, package))
    assert (done.returncode, done.stdout) == (0, whole.stdout)


def test_one_bit_of_a_large_bank(large, new):
    with (large / "machine.data").open("r+b") as file:
        file.seek(5000)
        byte = file.read(1)[0]
        file.seek(5000)
        file.write(bytes([byte ^ 1]))
    done = alone(large, str(new[16_000][0]))
    assert done.returncode == 2 and b"do not belong together" in done.stderr
    with pytest.raises(BankError, match=r"machine\.data"):
        EdgeRunner(large)


def test_a_full_disk_is_said_before(bank, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("echobank.edge.bundle.shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    assert main(["export", str(bank), "--out", str(tmp_path / "pump.edge")]) == 2
    assert "MB are free" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_large_arrays_are_written_in_bounded_memory(tmp_path):
    rows = np.memmap(tmp_path / "rows", np.float32, "w+", shape=(100_000, 2, 64))
    rows[::1000] = 1
    graph = Graph()
    graph.inputs.append(("x", "float32", [64, 1]))
    graph.result("y", graph.add("MatMul", graph.constant_of(rows[:, 1]), "x"))
    graph.outputs.append(("y", "float32", [100_000, 1]))
    tracemalloc.start()
    graph.save(tmp_path / "a.onnx", {}, "rows", tmp_path / DATA)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4e6 < (tmp_path / DATA).stat().st_size


def test_a_bank_that_is_exported_is_not_prepared_for_search(healthy, tmp_path):
    bank = fit(tmp_path / "banks", healthy, "logmel_stats", "scoring.backend=knn")
    machine = open_machine(bank)
    assemble_graph(machine)
    assert "_bands" not in vars(machine.backend.rows_())  # a copy of a large bank would not fit into memory beside it

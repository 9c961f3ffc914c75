"""What others rely on, as plain values: commands, options, exit codes, columns, file names, settings.

`PYTHONPATH=<version before>/src python -m tests.golden.before.contract` writes `contract.json`.
"""

import argparse
import contextlib
import csv
import io
import json
import re
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import echobank
from echobank import errors
from echobank.cli import COMMANDS, main
from echobank.config import load_config, to_dict
from tests.golden.before.places import HERE, prepare, run
from tests.golden.before.scenes import enter

ROOT = Path(echobank.__file__).parents[2]
Plain = dict[str, Any]
CONFIGS = ("default", "demo", "best", "spectrum")
HASH = re.compile(r"(?<![0-9a-f])[0-9a-f]{16,64}(?![0-9a-f])")
SET = ["--set", "data.root=data", "--set", "data.machines=[fan]", "--set"]
LOGMEL = [*SET, "model.embedding=logmel_stats"]
TUNING = [f"finetune.{key}" for key in ("steps=2", "rank=2", "alpha=2", "batch_size=4", "seconds=0.7", "patience=0")]
TINY = [*SET, "model.embedding=models/tiny.pt", *[word for key in TUNING for word in ("--set", key)]]
RUN = [
    ["preprocess", *LOGMEL],
    ["train", *LOGMEL],
    ["infer", *LOGMEL],
    ["evaluate", "--results", "results"],
    ["study", *LOGMEL, "--grid", "k=1,2"],
    ["report", "--results", "results"],
]
MACHINE = [
    ["fit", "healthy", "--machine", "pump", "--window", "2s", "--set", "model.embedding=logmel_stats"],
    ["score", "banks/pump", "new/bad.wav", "--out", "table.csv", "--report", "score.html"],
    ["score", "banks/pump", "new/bad.wav", "--out", "table.jsonl"],
    ["score", "banks/pump", "new/bad.wav", "--out", "table.parquet"],
    ["bank", "compact", "banks/pump", "--rows", "30"],
    ["bank", "info", "banks/pump", "--json", "--rows", "--log"],
    ["explain", "banks/pump", "new/bad.wav", "--json"],
    ["watch", "banks/pump", "new", "--once", "--settle", "1ms", "--csv", "watch.csv"],
]
TRAINING = [["preprocess", *TINY], ["train", *TINY], ["finetune", *TINY], ["export", "models/tiny.pt", "--out", "onnx"]]
EXITS = [
    ["--version"],
    ["--help"],
    [],
    ["infr"],
    ["score"],
    ["score", "absent", "absent.wav"],
    ["score", "banks/pump", "new/good.wav"],
    ["score", "banks/pump", "healthy/fast/00.wav", "new/broken.wav"],
    ["score", "banks/pump", "new/bad.wav"],
    ["score", "banks/pump", "new/good.wav", "--far", "0.0001"],
    ["score", "banks/pump", "new/good.wav", "--far", "2"],
    ["bank", "info", "absent"],
    ["bank", "info", "results/banks/fan_section_00.safetensors"],
    ["bank", "remove", "banks/pump", "absent.wav"],
    ["evaluate", "--results", "absent"],
    ["train", "--set", "model.kk=1"],
    ["train", "--set", "data.root=absent"],
    ["infer", *LOGMEL, "--set", "model.pooling=max"],
    ["decide", "--results", "results", "--far", "0.0001"],
    ["fit", "absent", "--machine", "x"],
]


def options(command: str) -> Plain:
    """Return the arguments of a command by name, as its parser has them; those of an action under `command action`."""
    caught: list[argparse.ArgumentParser] = []

    def catch(parser: argparse.ArgumentParser, *_: Any, **__: Any) -> Any:
        caught.append(parser)
        raise SystemExit(0)

    with patch.object(argparse.ArgumentParser, "parse_args", catch), contextlib.suppress(SystemExit):
        main([command])
    return _arguments(caught[0], command)


def _arguments(parser: argparse.ArgumentParser, name: str) -> Plain:
    found: Plain = {name: {}}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, below in action.choices.items():
                found |= _arguments(below, f"{name} {word}")
        elif not isinstance(action, argparse._HelpAction):
            for option in action.option_strings or [action.dest]:
                found[name][option] = {
                    "required": action.required,
                    "nargs": action.nargs,
                    "default": json.loads(json.dumps(action.default, default=str)),
                    "choices": sorted(map(str, action.choices or [])),
                    "kind": type(action).__name__.strip("_"),
                }
    return found


def files(folder: Path) -> list[str]:
    """Return the names of the files below a folder that are not input; hashes of contents are left open."""
    given = {"data", "healthy", "more", "long", "new", "models"}
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    names = {HASH.sub("<hash>", path.as_posix()) for path in found if path.parts[0] not in given}
    names = {re.sub(r"/[0-9a-f]{2}/<hash>", "/<xx>/<hash>", name) for name in names if not name.endswith(".lock")}
    return sorted({re.sub(r"-[0-9a-f]{8}\.cursor", "-<place>.cursor", name) for name in names})


def keys(value: Any) -> Any:
    """Return the keys of nested mappings; of a list those of its first entry."""
    if isinstance(value, dict):
        return {key: keys(below) for key, below in value.items()}
    return [keys(value[0])] if isinstance(value, list) and value and isinstance(value[0], dict) else None


def titles(text: str) -> list[str]:
    """Return the columns of a CSV."""
    return next(csv.reader(io.StringIO(text)))


def statics() -> Plain:
    """Return what is known without running anything."""
    commands: Plain = {}
    for command in COMMANDS:
        commands |= options(command)
    return {
        "exports": sorted(echobank.__all__),
        "commands": commands,
        "exit_codes": {name: getattr(errors, name) for name in dir(errors) if name.startswith("EXIT_")},
        "errors": sorted(
            name for name, one in vars(errors).items() if isinstance(one, type) and issubclass(one, Exception)
        ),
        "settings": to_dict(load_config()),
        "configs": {name: to_dict(load_config(ROOT / "configs" / f"{name}.yaml")) for name in CONFIGS},
    }


def observed(base: Path, folder: Path) -> Plain:
    """Return what a run, a machine and a fine-tuning leave behind."""
    enter(base, folder)
    found: Plain = {"files": {}}
    said = {}
    for part, commands in (("run", RUN), ("machine", MACHINE)):
        before = set(files(folder))
        for words in commands:
            said[words[0], words[1]] = answer = run(folder, words)
            assert answer.code in (0, 1, 3), (words, answer.err)
        found["files"][part] = sorted(set(files(folder)) - before)
    found["columns"] = {
        name: titles((folder / name).read_text())
        for name in ("table.csv", "watch.csv", "results/fan_source.csv", "results/study/study.csv")
        if (folder / name).exists()
    }
    found["keys"] = {
        "table.jsonl": keys(json.loads((folder / "table.jsonl").read_text().splitlines()[0])),
        "bank info": keys(json.loads(said["bank", "info"].out)),
        "explain": keys(json.loads(said["explain", "banks/pump"].out)),
        "watch": watched(said["watch", "banks/pump"].out),
        "results/run.json": keys(json.loads((folder / "results/run.json").read_text())),
        "results/evaluation.json": keys(json.loads((folder / "results/evaluation.json").read_text())),
    }
    found["exits"] = [[words, run(folder, words).code] for words in EXITS]
    return found


def watched(text: str) -> Plain:
    """Return the keys of the first line of each kind that `watch` prints."""
    lines = [json.loads(line) for line in text.splitlines()]
    return {kind: keys(next(line for line in lines if line["kind"] == kind)) for kind in {one["kind"] for one in lines}}


def trained(base: Path, folder: Path) -> list[str]:
    """Return the files of a fine-tuning and an export."""
    enter(base, folder)
    for words in TRAINING:
        answer = run(folder, words)
        assert answer.code == 0, (words, answer.err)
    return files(folder)


def write() -> None:
    """Write the contract of the version that is on the path."""
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary) / "base"
        prepare(base)
        contract = statics() | observed(base, Path(temporary) / "work")
        if find_spec("torch"):
            contract["files"]["training"] = trained(base, Path(temporary) / "training")
    (HERE / "contract.json").write_text(json.dumps(contract, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    write()

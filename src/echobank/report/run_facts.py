"""What a run left behind about itself: `run.json` beside the results, `synth.json` beside synthetic recordings."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from echobank.errors import InputError

_LEVELS = 3  # from the folder of machines up to the folder that `synth` wrote: dev_data/raw


@dataclass(frozen=True)
class RunFacts:
    """Facts that a reader needs beside the scores.

    Attributes:
        warnings: Sentences that change what the scores mean.
        encoder: Name, weights hash and the other facts of the encoder.
        settings: Resolved configuration as YAML; empty when it is not known.
        versions: Version of each library.
        skipped: Recordings that were left out, and why.
    """

    warnings: tuple[str, ...] = ()
    encoder: Mapping[str, Any] = field(default_factory=dict)
    settings: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()


def read_run_facts(folder: Path | str, known_weights: Collection[str]) -> RunFacts:
    """Read the facts of a run; results of another program have none.

    Args:
        folder: The output folder of the run.
        known_weights: SHA-256 of every weights file that has a card.

    Raises:
        InputError: `run.json` is damaged.
    """
    path = Path(folder) / "run.json"
    if not path.exists():
        return RunFacts(("There is no run.json beside these results: what made the scores is not known.",))
    try:
        stages = json.loads(path.read_text(encoding="utf-8"))
        last = stages.get("infer") or stages.get("train") or {}
        config, encoder = last.get("config", {}), last.get("encoder", {})
        skipped = [
            f"{stage}: {reason}" for stage in ("train", "infer") for reason in stages.get(stage, {}).get("skipped", [])
        ]
    except (OSError, ValueError, AttributeError) as error:
        raise InputError("not a record of a run, or a damaged one", where=path, hint="run infer again") from error
    warnings = [*_synthetic(config), *_unknown_weights(encoder, known_weights)]
    settings = yaml.safe_dump(config, sort_keys=False, allow_unicode=True) if config else ""
    return RunFacts(tuple(warnings), encoder, settings, last.get("versions", {}), tuple(skipped))


def _synthetic(config: Mapping[str, Any]) -> list[str]:
    root = _data_root(config)
    if root is None:
        return []
    folders = [root.resolve(), *root.resolve().parents][: _LEVELS + 1]
    if not any((folder / "synth.json").is_file() for folder in folders):
        return []
    return ["The recordings are synthetic: these scores mean nothing about real machines."]


def _data_root(config: Mapping[str, Any]) -> Path | None:
    data = config.get("data", {})
    if data.get("root"):
        return Path(data["root"])
    try:
        remembered = json.loads((Path(data["cache"]) / "dataset.json").read_text(encoding="utf-8"))
        return Path(remembered["root"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _unknown_weights(encoder: Mapping[str, Any], known_weights: Collection[str]) -> list[str]:
    digest = encoder.get("weights_sha256", "")
    if not digest or digest in known_weights:
        return []
    return [
        f"The weights of the encoder ({encoder.get('name', 'unnamed')}) are none that echobank knows; if they are "
        "random, these scores mean nothing."
    ]

"""The package that the challenge takes: `task2/<label>/` with every CSV and `<label>.meta.yaml`."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from echobank.errors import InputError
from echobank.evaluation.metrics import Evaluation
from echobank.evaluation.submission import ScoredClip, write_machine
from echobank.evaluation.tables import Key
from echobank.storage import write_text

_ABBREVIATION = 10  # characters that the challenge allows


@dataclass(frozen=True)
class Author:
    """One author of a system."""

    lastname: str
    firstname: str
    email: str
    corresponding: bool = True
    affiliation: str = ""


@dataclass(frozen=True)
class SystemFacts:
    """What the challenge asks about a system; None becomes null, which the challenge reads as "not used".

    Attributes:
        name: Full name of the system.
        abbreviation: At most ten characters.
        authors: Who submits it.
        input_sampling_rate: Hz.
        data_augmentation: For example "mixing noise, pitch shifting".
        front_end: For example "log-mel energies".
        acoustic_features: What the front end computes.
        embeddings: Pretrained encoder.
        machine_learning_method: For example "k-NN".
        aggregation_method: How tokens become one vector.
        domain_adaptation_method: How the target domain is adapted to.
        domain_generalization_method: How both domains are served by one rule.
        ensemble_method_subsystem_count: Number of systems combined.
        decision_making: How the threshold is set.
        attribute_usage: How attributes are used.
        external_data_usage: For example "pre-trained model".
        development_data_usage: How the development set is used.
        total_parameters: Of everything that runs on a clip.
        macs: Multiply-accumulate operations for one clip.
        external_datasets: Name and address of each.
        source_code: Address of the code.
    """

    name: str
    abbreviation: str
    authors: tuple[Author, ...] = ()
    input_sampling_rate: int = 16000
    data_augmentation: str | None = None
    front_end: str | None = None
    acoustic_features: str | None = None
    embeddings: str | None = None
    machine_learning_method: str | None = None
    aggregation_method: str | None = None
    domain_adaptation_method: str | None = None
    domain_generalization_method: str | None = None
    ensemble_method_subsystem_count: int | None = None
    decision_making: str | None = None
    attribute_usage: str | None = None
    external_data_usage: str | None = None
    development_data_usage: str | None = None
    total_parameters: int | None = None
    macs: int | None = None
    external_datasets: tuple[tuple[str, str], ...] = ()
    source_code: str | None = None


def write_package(
    folder: Path | str,
    label: str,
    clips: Mapping[Key, Sequence[ScoredClip]],
    facts: SystemFacts,
    evaluation: Evaluation | None = None,
) -> list[Path]:
    """Write `task2/<label>/` below `folder`.

    Args:
        folder: Output folder of the run.
        label: Name of the submission, letters, digits, `_` and `-`, such as "echobank_1".
        clips: All test clips of each machine and section.
        facts: What the challenge asks about the system.
        evaluation: Results on the development set, when they are known.

    Raises:
        InputError: A label that cannot be a folder, a long abbreviation, or as `write_machine`.
        OutputError: A file cannot be written.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]+", label):
        raise InputError("the label of a submission takes letters, digits, _ and - only", value=label)
    if len(facts.abbreviation) > _ABBREVIATION:
        raise InputError(f"an abbreviation has at most {_ABBREVIATION} characters", value=facts.abbreviation)
    target = Path(folder) / "task2" / label
    files = [path for key, rows in sorted(clips.items()) for path in write_machine(target, *key, rows)]
    meta = target / f"{label}.meta.yaml"
    write_text(meta, yaml.safe_dump(_meta(label, facts, evaluation), sort_keys=False, allow_unicode=True))
    return [*files, meta]


def _meta(label: str, facts: SystemFacts, evaluation: Evaluation | None) -> dict[str, Any]:
    return {
        "submission": {
            "label": label,
            "name": facts.name,
            "abbreviation": facts.abbreviation,
            "authors": [_author(author) for author in facts.authors],
        },
        "system": {
            "description": {name: getattr(facts, name) for name in _DESCRIPTION},
            "complexity": {"total_parameters": facts.total_parameters, "MACS": facts.macs},
            "external_datasets": [{"name": name, "url": url} for name, url in facts.external_datasets],
            "source_code": facts.source_code,
        },
        "results": {"development_dataset": {} if evaluation is None else _results(evaluation)},
    }


_DESCRIPTION = (
    "input_sampling_rate",
    "data_augmentation",
    "front_end",
    "acoustic_features",
    "embeddings",
    "machine_learning_method",
    "aggregation_method",
    "domain_adaptation_method",
    "domain_generalization_method",
    "ensemble_method_subsystem_count",
    "decision_making",
    "attribute_usage",
    "external_data_usage",
    "development_data_usage",
)


def _author(author: Author) -> dict[str, Any]:
    return {
        "lastname": author.lastname,
        "firstname": author.firstname,
        "email": author.email,
        "corresponding": author.corresponding,
        "affiliation": {"institute": author.affiliation},
    }


def _results(evaluation: Evaluation) -> dict[str, Any]:
    """Return AUC source, AUC target and pAUC in percent; each section of a machine gets its own key."""
    several = len({result.section for result in evaluation.machines}) > 1
    return {
        f"{result.machine}_section_{result.section}" if several else result.machine: {
            "auc_source": _percent(result.source.auc),
            "auc_target": _percent(result.target.auc),
            "pauc": _percent(result.pauc),
        }
        for result in evaluation.machines
    }


def _percent(value: float) -> float | None:
    return None if math.isnan(value) else round(100 * value, 4)

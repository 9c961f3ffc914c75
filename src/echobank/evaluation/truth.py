"""What the test clips really are: from file names, or from the official ground-truth CSVs; joined by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from echobank.data.dcase import parse_name
from echobank.errors import InputError
from echobank.evaluation.tables import (
    DECISIONS,
    SCORES,
    Key,
    binary,
    read_tables,
    refuse_other_names,
    table_name,
)

_PREFIX = "ground_truth"
_DATA, _DOMAIN, _ATTRIBUTES = "ground_truth_data", "ground_truth_domain", "ground_truth_attributes"
_DOMAINS = ("source", "target")  # what 0 and 1 mean in ground_truth_domain

V = TypeVar("V")


@dataclass(frozen=True)
class ClipTruth:
    """What one test clip is: whether it is anomalous, and "source" or "target"."""

    anomaly: bool
    domain: str


Truth = Mapping[Key, Mapping[str, ClipTruth]]


@dataclass(frozen=True)
class LabelledScores:
    """The n test clips of a machine and section with their truth, sorted by name.

    Attributes:
        machine: Machine type.
        section: Section of the data set.
        names: File names, n.
        scores: Anomaly scores, float64[n]; larger is more anomalous.
        decisions: 1 anomalous, 0 normal, int8[n]; None when the system wrote none.
        anomaly: Whether the clip is anomalous, bool[n].
        domains: "source" or "target", str[n].
    """

    machine: str
    section: str
    names: tuple[str, ...]
    scores: NDArray[np.float64]
    decisions: NDArray[np.int8] | None
    anomaly: NDArray[np.bool_]
    domains: NDArray[np.str_]


def load_truth(scores: Mapping[Key, Mapping[str, float]], folder: Path | str | None = None) -> Truth:
    """Return the truth of scored clips.

    Args:
        scores: What `submission.read_scores` gave.
        folder: Holds `ground_truth_data` and `ground_truth_domain` (or `ground_truth_attributes`) at any depth;
            None takes the truth from the names of the clips.

    Raises:
        InputError: Names without truth (blind clips), or a folder whose truth is missing, malformed or contradicts
            itself.
    """
    if folder is None:
        return {key: {name: _from_name(name, key) for name in table} for key, table in scores.items()}
    return _official(folder)


def join(
    scores: Mapping[Key, Mapping[str, float]], decisions: Mapping[Key, Mapping[str, int]] | None, truth: Truth
) -> tuple[LabelledScores, ...]:
    """Return scores, decisions and truth joined by machine, section and file name.

    Raises:
        InputError: A machine or a clip of one is missing in the other; named with its file.
    """
    for key in truth:
        if key not in scores:
            raise InputError("a machine of the truth has no scores", value=table_name(SCORES, key))
    joined = []
    for key, table in sorted(scores.items()):
        if key not in truth:
            raise InputError("there is no truth for a machine", value=table_name(_PREFIX, key))
        wanted = truth[key]
        refuse_other_names(table, wanted, table_name(SCORES, key))
        names = sorted(wanted)
        decided = None
        if decisions is not None:
            refuse_other_names(decisions.get(key, {}), wanted, table_name(DECISIONS, key))
            decided = np.array([decisions[key][name] for name in names], dtype=np.int8)
        joined.append(
            LabelledScores(
                *key,
                tuple(names),
                np.array([table[name] for name in names], dtype=np.float64),
                decided,
                np.array([wanted[name].anomaly for name in names]),
                np.array([wanted[name].domain for name in names]),
            )
        )
    return tuple(joined)


def _from_name(name: str, key: Key) -> ClipTruth:
    truth = _parse(name, key, table_name(SCORES, key))
    if truth is None:
        raise InputError(
            "the name of a blind clip does not tell the truth",
            value=name,
            where=table_name(SCORES, key),
            hint="name a folder with the official ground truth (--truth DIR)",
        )
    return truth


def _parse(name: str, key: Key, where: str) -> ClipTruth | None:
    try:
        recording = parse_name(Path(name), key[0], "test")
    except InputError as error:
        raise InputError(error.what, value=name, where=where) from error
    if recording.condition == "unknown":
        return None
    return ClipTruth(recording.condition == "anomaly", recording.domain)


def _official(folder: Path | str) -> Truth:
    """Read the official folders; attributes, where given, must agree with labels and domains."""
    data = _read(Path(folder), _DATA, binary)
    if not data:
        raise InputError(f"there is no {_DATA}/{table_name(_PREFIX, ('<machine>', '<nn>'))}", where=folder)
    domains, attributes = _read(Path(folder), _DOMAIN, binary), _read(Path(folder), _ATTRIBUTES, str)
    if not domains and not attributes:
        raise InputError(f"there is no {_DOMAIN}", where=folder, hint=f"it belongs beside the official {_DATA}")
    return {key: _official_machine(key, labels, domains, attributes) for key, labels in data.items()}


def _official_machine(
    key: Key,
    labels: Mapping[str, int],
    domains: Mapping[Key, Mapping[str, int]],
    attributes: Mapping[Key, Mapping[str, str]],
) -> dict[str, ClipTruth]:
    where = f"{_ATTRIBUTES}/{table_name(_PREFIX, key)}"
    numbers = _aligned(domains, _DOMAIN, key, labels)
    described = _aligned(attributes, _ATTRIBUTES, key, labels)
    truth = {}
    for name, label in labels.items():
        claimed = _parse(described[name], key, where) if described else None
        domain = _DOMAINS[numbers[name]] if numbers else claimed.domain if claimed else "unknown"
        truth[name] = ClipTruth(bool(label), domain)
        if claimed not in (None, truth[name]):
            raise InputError("a clip's attributes contradict its label or domain", value=name, where=where)
    return truth


def _read(folder: Path, kind: str, convert: Callable[[str], V]) -> dict[Key, dict[str, V]]:
    """Read the tables of the one folder called `kind` at, beside or below `folder`; empty when there is none."""
    root = folder.parent if folder.name in (_DATA, _DOMAIN, _ATTRIBUTES) else folder
    if not root.is_dir():
        raise InputError("there is no such folder of truth", where=folder)
    found = sorted(path for path in root.rglob(kind) if path.is_dir())
    if len(found) > 1:
        raise InputError(f"several folders called {kind}", where=root, hint=f"name one of {', '.join(map(str, found))}")
    most = 3 if kind == _ATTRIBUTES else 2  # name, name with attributes, name with the attributes that were hidden
    return read_tables(found[0], _PREFIX, convert, most=most) if found else {}


def _aligned(tables: Mapping[Key, Mapping[str, V]], kind: str, key: Key, labels: Mapping[str, int]) -> Mapping[str, V]:
    """Return the table of a machine after checking that it has exactly the labelled clips; empty without tables."""
    if not tables:
        return {}
    where = f"{kind}/{table_name(_PREFIX, key)}"
    if key not in tables:
        raise InputError("a file of the truth is missing", where=where)
    refuse_other_names(tables[key], labels, where)
    return tables[key]

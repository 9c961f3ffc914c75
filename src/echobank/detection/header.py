"""The header of a bank, typed: what made it, how it is scored, when a score is anomalous, and what the user set.

One schema number, `SCHEMA`, for both kinds of bank: of a DCASE run, and of an own machine. This module is the only one
that reads a header by string keys; `migrated` opens the headers of every older schema:

1 and 2: mappings `made_by` and `settings`, rows and leave-one-out scores as JSON (1 had no extras).
3: the fields of `BankHeader`; rows and scores are stored next to it as tensors (`echobank.detection.bank`).
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from echobank.detection.leave_one_out import Dropped, SelfScores
from echobank.detection.rows import Row
from echobank.detection.threshold import Threshold
from echobank.models.provenance import Provenance

SCHEMA = 3


@dataclass(frozen=True)
class Scoring:
    """How embeddings become scores.

    Attributes:
        backend: Name of the back-end.
        metric: "cosine" or "euclidean".
        k: Neighbours whose distances are averaged.
        params: Parameters of the back-end.
    """

    backend: str = "knn"
    metric: str = "cosine"
    k: int = 3
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ScoringSettings(Scoring):
    """How a bank of a run is scored and when a score is called anomalous: the config's `scoring`, k and `decision`.

    Attributes:
        decision: One of `decision.METHODS`.
        false_alarm_rate: The requested rate.
        leave_out: What a row is scored without: "clip" or "state".
    """

    decision: str = "gamma"
    false_alarm_rate: float = 0.1
    leave_out: str = "clip"


@dataclass(frozen=True)
class Change:
    """One change of a bank.

    Attributes:
        revision: Number of the state that it led to.
        action: One word: fit, add, remove, ...
        at: When, ISO 8601, UTC.
        rows: Rows afterwards.
        facts: What else is worth knowing, plain values.
    """

    revision: int
    action: str
    at: str
    rows: int
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_header(self) -> dict[str, Any]:
        """Return plain values, the facts beside the rest."""
        known = {"revision": self.revision, "action": self.action, "at": self.at, "rows": self.rows}
        return {**known, **self.facts}

    @classmethod
    def from_header(cls, plain: Mapping[str, Any]) -> "Change":
        """Return the change that `to_header` made plain values of."""
        known = {name: plain[name] for name in ("revision", "action", "at", "rows")}
        return cls(**known, facts={name: value for name, value in plain.items() if name not in known})


@dataclass(frozen=True)
class OwnMachine:
    """What the bank of an own machine knows besides.

    Attributes:
        name: The user's name of the machine.
        embedding: The encoder as `load_encoder` finds it again.
        rate: The requested false-alarm rate; None takes the usual one.
        roots: Folders that the names of recordings are relative to.
        max_rows: Most rows that the bank may hold; None for any number.
        revision: How many changes led to this state; the first fit is 1.
        log: The last changes, the oldest first.
        flag_rate: Share of healthy windows that may carry a flag such as `odd_band`; None takes the usual one.
    """

    name: str
    embedding: str
    rate: float | None = None
    roots: tuple[str, ...] = ()
    max_rows: int | None = None
    revision: int = 1
    log: tuple[Change, ...] = ()
    flag_rate: float | None = None

    def to_header(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "name": self.name,
            "embedding": self.embedding,
            "rate": self.rate,
            "roots": list(self.roots),
            "max_rows": self.max_rows,
            "revision": self.revision,
            "log": [entry.to_header() for entry in self.log],
            "flag_rate": self.flag_rate,
        }

    @classmethod
    def from_header(cls, plain: Mapping[str, Any]) -> "OwnMachine":
        """Return the facts that `to_header` made plain values of.

        Raises:
            KeyError: One is missing.
        """
        return cls(
            name=str(plain["name"]),
            embedding=str(plain["embedding"]),
            rate=None if plain["rate"] is None else float(plain["rate"]),
            roots=tuple(map(str, plain["roots"])),
            max_rows=None if plain["max_rows"] is None else int(plain["max_rows"]),
            revision=int(plain["revision"]),
            log=tuple(Change.from_header(entry) for entry in plain["log"]),
            flag_rate=None if plain.get("flag_rate") is None else float(plain["flag_rate"]),
        )


@dataclass(frozen=True)
class BankHeader:
    """Everything that a bank says of itself beside its rows.

    Attributes:
        provenance: What made the vectors; None where they came from somewhere else.
        scoring: How it is scored; `ScoringSettings` in a bank of a run. None before that is settled.
        thresholds: Of a bank of a run: where a score becomes anomalous.
        machine: Of a bank of an own machine; None in a bank of a run.
        versions: Versions of the libraries that made it; recorded, never compared.
    """

    provenance: Provenance | None = None
    scoring: Scoring | None = None
    thresholds: tuple[Threshold, ...] = ()
    machine: OwnMachine | None = None
    versions: Mapping[str, str] = field(default_factory=dict)

    def to_header(self) -> dict[str, Any]:
        """Return plain values as JSON knows them."""
        tree = {
            "schema": SCHEMA,
            "provenance": self.provenance.to_header() if self.provenance else None,
            "scoring": asdict(self.scoring) if self.scoring else None,
            "thresholds": [asdict(threshold) for threshold in self.thresholds],
            "machine": self.machine.to_header() if self.machine else None,
            "versions": dict(self.versions),
        }
        plain: dict[str, Any] = json.loads(json.dumps(tree, allow_nan=False))
        return plain

    @classmethod
    def from_header(cls, plain: Mapping[str, Any]) -> "BankHeader":
        """Return the header that `to_header` made plain values of; older schemas go through `migrated`.

        Raises:
            KeyError: A field is missing.
            TypeError: A field has a value of another kind.
            ValueError: A field has an impossible value.
            ConfigError: The same, of the provenance.
        """
        made, machine = plain["provenance"], plain["machine"]
        return cls(
            provenance=None if made is None else Provenance.from_header(made),
            scoring=_scoring(plain["scoring"]),
            thresholds=tuple(Threshold(**threshold) for threshold in plain["thresholds"]),
            machine=None if machine is None else OwnMachine.from_header(machine),
            versions={str(name): str(version) for name, version in plain["versions"].items()},
        )


@dataclass(frozen=True)
class Migrated:
    """What the header of an older schema held: a header of today, and what is now stored next to it."""

    header: BankHeader
    rows: tuple[Row, ...]
    own: SelfScores | None
    dropped: Dropped


def schema_of(plain: Mapping[str, Any]) -> int:
    """Return the number of the schema that a header is of."""
    return int(plain["schema"])


def migrated(plain: Mapping[str, Any]) -> Migrated:
    """Return what a header of schema 1 or 2 holds.

    Raises:
        As `BankHeader.from_header`.
    """
    made, settings = plain["made_by"], plain["settings"]
    dropped = settings.get("dropped", {"scores": [], "groups": []})
    rows = tuple(Row(**row) for row in plain["rows"])
    header = BankHeader(
        provenance=Provenance.from_header(made) if "encoder" in made else None,
        scoring=_scoring(settings.get("scoring")),
        thresholds=tuple(Threshold(**threshold) for threshold in settings.get("thresholds", [])),
        machine=_own_machine(settings, rows) if "embedding" in settings else None,
        versions={str(name): str(version) for name, version in settings.get("versions", {}).items()},
    )
    scores, states = settings.get("self_scores"), settings.get("state_scores")
    own = None
    if scores is not None:
        own = SelfScores(_numbers(scores), None if states is None else _numbers(states))
    return Migrated(header, rows, own, Dropped(_numbers(dropped["scores"]), tuple(dropped["groups"])))


def _own_machine(settings: Mapping[str, Any], rows: tuple[Row, ...]) -> OwnMachine:
    return OwnMachine.from_header(
        {
            "name": settings.get("machine", rows[0].machine),
            "embedding": settings["embedding"],
            "rate": settings.get("false_alarm_rate"),
            "roots": settings.get("roots", []),
            "max_rows": settings.get("max_rows"),
            "revision": settings.get("revision", 1),
            "log": settings.get("log", []),
        }
    )


def _scoring(plain: Mapping[str, Any] | None) -> Scoring | None:
    if plain is None:
        return None
    return ScoringSettings(**plain) if "decision" in plain else Scoring(**plain)


def _numbers(values: Any) -> "np.ndarray[Any, np.dtype[np.float64]]":
    return np.array(values, dtype=np.float64)

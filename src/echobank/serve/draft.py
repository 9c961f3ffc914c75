"""A draft: a machine that is being added, its healthy recordings, and how far its fit is. One JSON file each."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from echobank.errors import InputError
from echobank.storage import write_json

COLLECTING, WAITING, FITTING, DONE, FAILED = "collecting", "waiting", "fitting", "done", "failed"
UNDER_WAY = (WAITING, FITTING)
_FILE = "draft.json"


@dataclass(frozen=True)
class Take:
    """A healthy recording of a draft.

    Attributes:
        sha256: Hash of what was sent.
        file: Name under which it is kept, and by which the bank knows it.
        bytes: Its size.
        seconds: Its length.
    """

    sha256: str
    file: str
    bytes: int
    seconds: float


@dataclass(frozen=True)
class FitReport:
    """What a fit found.

    Attributes:
        health: What the bank holds and supports, one sentence per line.
        odd: Recordings that are unlike the others: name, score, deviations.
        skipped: Recordings, or windows of them, that were left out: name and reason.
        notices: What to know besides.
    """

    health: tuple[str, ...]
    odd: tuple[tuple[str, float, float], ...]
    skipped: tuple[tuple[str, str], ...]
    notices: tuple[str, ...]


@dataclass(frozen=True)
class Draft:
    """A machine that is being added.

    Attributes:
        id: Name of its folder.
        machine: Name of the machine.
        seconds: Length of a window.
        hop: Distance between the beginnings of windows, seconds.
        rate: False-alarm rate; None takes the usual one.
        created: ms since 1970.
        takes: Healthy recordings, in the order in which they came.
        state: One of the words above.
        done: Recordings heard so far.
        total: Recordings to hear.
        error: Why a fit failed.
        report: What the last fit found.
    """

    id: str
    machine: str
    seconds: float
    hop: float
    rate: float | None
    created: int
    takes: tuple[Take, ...] = ()
    state: str = COLLECTING
    done: int = 0
    total: int = 0
    error: str = ""
    report: FitReport | None = None

    def to_values(self) -> dict[str, Any]:
        """Return the draft as a plain mapping."""
        return asdict(self)

    def save(self, folder: Path) -> None:
        """Write the draft into its folder.

        Raises:
            OutputError: The disk is full or gone.
        """
        write_json(folder / _FILE, self.to_values())

    def take(self, sha256: str) -> Take:
        """Return one recording.

        Raises:
            InputError: There is none of this hash.
        """
        for take in self.takes:
            if take.sha256 == sha256:
                return take
        raise InputError("no such recording", value=sha256)

    def without(self, sha256: str) -> "Draft":
        """Return the draft without a recording."""
        return replace(self, takes=tuple(take for take in self.takes if take.sha256 != sha256))


def read_draft(folder: Path) -> Draft | None:
    """Return the draft in a folder, or None where there is none that can be read."""
    try:
        return _draft(json.loads((folder / _FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _draft(values: Mapping[str, Any]) -> Draft:
    known = {name: values[name] for name in (field.name for field in fields(Draft)) if name in values}
    report = known.get("report")
    if report is not None:
        lists = {name: tuple(map(tuple, report[name])) for name in ("odd", "skipped")}
        report = FitReport(health=tuple(report["health"]), notices=tuple(report["notices"]), **lists)
    return Draft(**{**known, "report": report, "takes": tuple(Take(**take) for take in known["takes"])})

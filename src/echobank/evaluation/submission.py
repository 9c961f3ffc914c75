"""The CSVs of the challenge: scores and decisions written, and read back from any system.

The official evaluator pairs rows with the truth by sorting and drops a whole system when a row is missing
(nttcslab/dcase2024_task2_evaluator), so rows are written sorted by name, complete, and with full precision.
"""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from echobank.errors import InputError, OutputError
from echobank.evaluation.tables import (
    DECISIONS,
    SCORES,
    Key,
    binary,
    find_tables,
    finite,
    missing_table,
    read_tables,
    table_name,
)
from echobank.storage import write_text

DOMAINS = ("source", "target", "unknown")


@dataclass(frozen=True)
class ScoredClip:
    """One test clip with its result.

    Attributes:
        file_name: Name of the recording without its folder.
        domain: "source", "target", or "unknown" for blind clips.
        score: Anomaly score; larger is more anomalous.
        decision: 1 anomalous, 0 normal.
    """

    file_name: str
    domain: str
    score: float
    decision: int


def write_machine(folder: Path | str, machine: str, section: str, clips: Sequence[ScoredClip]) -> list[Path]:
    """Write the score and the decision CSV of one machine and section.

    Raises:
        InputError: A clip comes twice, a score is not finite, a decision is not 0 or 1, a domain is unheard of.
        OutputError: A file cannot be written.
    """
    rows = _checked(clips, machine)
    key = (machine, section)
    scores = Path(folder) / table_name(SCORES, key)
    decisions = Path(folder) / table_name(DECISIONS, key)
    write_text(scores, _csv((clip.file_name, repr(float(clip.score))) for clip in rows))
    write_text(decisions, _csv((clip.file_name, int(clip.decision)) for clip in rows))
    return [scores, decisions]


def write_domain_tables(folder: Path | str, machine: str, clips: Sequence[ScoredClip]) -> list[Path]:
    """Write `<machine>_<domain>.csv` for the domains that occur, and remove those of an earlier run that do not.

    Raises:
        InputError: As `write_machine`.
        OutputError: A file cannot be written or removed.
    """
    rows = _checked(clips, machine)
    written = []
    for domain in DOMAINS:
        path = Path(folder) / f"{machine}_{domain}.csv"
        chosen = [clip for clip in rows if clip.domain == domain]
        if chosen:
            table = [(clip.file_name, repr(float(clip.score)), int(clip.decision)) for clip in chosen]
            write_text(path, _csv([("file_name", "anomaly_score", "decision"), *table]))
            written.append(path)
        else:
            _remove(path)
    return written


def find_results(folder: Path | str) -> Path:
    """Return the folder that holds score CSVs: `folder` itself, or the only one below it, such as `task2/<label>`.

    Raises:
        InputError: There is no such folder, no score CSV in or below it, or several systems below it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError("there is no such folder of results", where=folder)
    if find_tables(folder, SCORES):
        return folder
    below = sorted({path.parent for path in folder.rglob(f"{SCORES}_*.csv") if find_tables(path.parent, SCORES)})
    if not below:
        name = table_name(SCORES, ("<machine>", "<nn>"))
        raise InputError(f"there is no {name}", where=folder, hint="run infer first, or name the folder of the CSVs")
    if len(below) > 1:
        raise InputError("several systems are here", where=folder, hint=f"name one of {', '.join(map(str, below))}")
    return below[0]


def read_scores(folder: Path | str) -> dict[Key, dict[str, float]]:
    """Read the anomaly scores of any system: {(machine, section): {file name: score}}, sorted.

    Raises:
        InputError: No score CSV, or one with a duplicate, a non-finite number or a malformed line; named with its
            file and line.
    """
    return read_tables(find_results(folder), SCORES, finite)


def read_decisions(folder: Path | str) -> dict[Key, dict[str, int]] | None:
    """Read the decisions of any system, as `read_scores`; None when it wrote none.

    Raises:
        InputError: As `read_scores`, or a machine has scores but no decisions while others have them.
    """
    folder = find_results(folder)
    found = find_tables(folder, DECISIONS)
    if not found:
        return None
    for key in find_tables(folder, SCORES):
        if key not in found:
            raise missing_table(folder, DECISIONS, key)
    return read_tables(folder, DECISIONS, binary)


def _checked(clips: Sequence[ScoredClip], machine: str) -> list[ScoredClip]:
    if not clips:
        raise InputError("there are no scored clips to write", where=machine)
    rows = sorted(clips, key=lambda clip: clip.file_name)
    previous = ""
    for clip in rows:
        where = f"{machine} {clip.file_name}"
        if clip.file_name == previous:
            raise InputError("a clip is scored twice", where=where)
        if not math.isfinite(clip.score):
            raise InputError("the anomaly score is not finite", value=clip.score, where=where)
        if clip.decision not in (0, 1):
            raise InputError("the decision is not 0 or 1", value=clip.decision, where=where)
        if clip.domain not in DOMAINS:
            raise InputError("the domain is not one of " + ", ".join(DOMAINS), value=clip.domain, where=where)
        previous = clip.file_name
    return rows


def _csv(rows: Iterable[Sequence[object]]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue()


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot remove a table of an earlier run ({error.strerror})", where=path) from error

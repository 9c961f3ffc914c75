"""Score: the embeddings of a machine's days against its bank, one file of verdicts per machine and day."""

import hashlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote

from echobank.errors import BankError, InputError
from echobank.fleet.bank_cache import BankCache, KeptBank
from echobank.fleet.dataset import MadeBy, VectorDataset
from echobank.fleet.location import Location
from echobank.fleet.reasons import Reasons
from echobank.machines.table import read_parquet, write_table
from echobank.machines.verdict import Verdict
from echobank.names import printable

_TOGETHER = 64  # recordings that are compared with the bank at once


@dataclass(frozen=True)
class FleetScoreSettings:
    """What an actor needs to score.

    Attributes:
        dataset: Where the embeddings are.
        made: What made them.
        banks: Where the banks are.
        out: Where verdicts go.
        rate: False-alarm rate; None takes that of each bank.
    """

    dataset: Location
    made: MadeBy
    banks: Location
    out: Location
    rate: float | None = None


@dataclass(frozen=True)
class ScoreTask:
    """Some days of a machine."""

    machine: str
    days: tuple[str, ...]


@dataclass(frozen=True)
class Standing:
    """The standing of one machine.

    Attributes:
        machine: Its name.
        recordings: Recordings scored.
        windows: Their windows.
        anomalous_recordings: Recordings with an anomalous window.
        anomalous_windows: Anomalous windows.
        errors: Recordings that could not be scored.
        threshold: Score above which a window is anomalous; None where the machine could not be scored.
        worst_score: The largest score.
        worst_file: Where it is.
        worst_start: Where its window begins, seconds.
        error: Why the machine could not be scored.
    """

    machine: str
    recordings: int = 0
    windows: int = 0
    anomalous_recordings: int = 0
    anomalous_windows: int = 0
    errors: int = 0
    threshold: float | None = None
    worst_score: float | None = None
    worst_file: str = ""
    worst_start: float | None = None
    error: str = ""

    @property
    def share(self) -> float:
        """Share of anomalous windows."""
        return self.anomalous_windows / self.windows if self.windows else 0.0

    def __add__(self, other: "Standing") -> "Standing":
        names = ("recordings", "windows", "anomalous_recordings", "anomalous_windows", "errors")
        counts = {name: getattr(self, name) + getattr(other, name) for name in names}
        worst = max(self, other, key=lambda one: float("-inf") if one.worst_score is None else one.worst_score)
        known = self.threshold if self.threshold is not None else other.threshold
        return replace(worst, **counts, threshold=known, error=self.error or other.error)


@dataclass(frozen=True)
class ScoreDone:
    """The result of some days of one machine.

    Attributes:
        standing: Counts and the worst window.
        fresh: Files of verdicts that were written; others were there already.
        errors: Recordings that could not be scored, by reason.
    """

    standing: Standing
    fresh: int = 0
    errors: Reasons = field(default_factory=Reasons)


class ScoreWorker:
    """Scores partitions; banks stay in a bounded cache, and no encoder is loaded.

    Args:
        settings: What it needs.
    """

    def __init__(self, settings: FleetScoreSettings) -> None:
        self._settings = settings
        self._dataset = VectorDataset(settings.dataset)
        self._banks = BankCache(settings.banks, settings.made.provenance, settings.rate)

    def ready(self) -> None:
        """Do nothing: this worker needs no preparation."""

    def do(self, task: ScoreTask) -> ScoreDone:
        """Score days of a machine and write their verdicts; those of the same bank and embeddings stay as they are.

        Raises:
            OutputError: Verdicts cannot be written.
        """
        try:
            kept = self._banks.get(task.machine)
        except (BankError, InputError) as error:
            return ScoreDone(Standing(task.machine, error=str(error)))
        standing, fresh, errors = Standing(task.machine, threshold=kept.machine.threshold), 0, Reasons()
        for day in task.days:
            verdicts = list(self._judged(kept, task.machine, day))
            fresh += self._write(verdicts, kept, task.machine, day)
            standing += standing_of(task.machine, verdicts, kept.machine.threshold)
            for verdict in verdicts:
                if verdict.error:
                    errors.add(verdict.file, verdict.error)
        return ScoreDone(standing, fresh, errors)

    def _judged(self, kept: KeptBank, machine: str, day: str) -> Iterator[Verdict]:
        made = self._settings.made
        entries = self._dataset.entries(made, machine, day)
        for begin in range(0, len(entries), _TOGETHER):
            part = entries[begin : begin + _TOGETHER]
            judged = kept.machine.judge_all([entry.heard for entry in part])
            for entry, verdicts in zip(part, judged, strict=True):
                yield from (replace(verdict, file=made.source + entry.recording) for verdict in verdicts)

    def _write(self, verdicts: Sequence[Verdict], kept: KeptBank, machine: str, day: str) -> bool:
        """Write the verdicts of a day unless they are there; remove those of another bank."""
        settings = self._settings
        shards = [file.name for file in self._dataset.shards(settings.made.key, machine, day)]
        facts = json.dumps([shards, kept.sha256, kept.machine.threshold]).encode()
        folder = _folder(machine, day)
        name = f"{folder}/{hashlib.sha256(facts).hexdigest()[:32]}.parquet"
        there = [file.name for file in settings.out.files(folder)]
        if name not in there:
            with tempfile.TemporaryDirectory() as scratch:
                path = Path(scratch) / "verdicts.parquet"
                write_table(path, verdicts)
                settings.out.write(name, path.read_bytes())
        for other in there:
            if other != name and other.endswith(".parquet"):
                settings.out.remove(other)
        return name not in there


def verdicts_in(out: Location, machine: str, day: str) -> dict[str, list[Verdict]]:
    """Return the verdicts of a day by file; none where they were not written.

    Raises:
        InputError: They cannot be read.
    """
    found: dict[str, list[Verdict]] = {}
    for file in out.files(_folder(machine, day)):
        if file.name.endswith(".parquet"):
            with out.at_hand(file.name) as path:
                for verdict in read_parquet(path):
                    found.setdefault(verdict.file, []).append(verdict)
    return found


def _folder(machine: str, day: str) -> str:
    return f"machine={quote(machine, safe='')}/day={quote(day, safe='')}"


def standing_of(machine: str, verdicts: Sequence[Verdict], threshold: float) -> Standing:
    """Return the standing of a machine from its verdicts."""
    scored = [verdict for verdict in verdicts if verdict.score is not None]
    worst = max(scored, key=lambda verdict: verdict.score or 0.0, default=None)
    anomalous = [verdict for verdict in scored if verdict.decision]
    return Standing(
        machine,
        len({verdict.file for verdict in scored}),
        len(scored),
        len({verdict.file for verdict in anomalous}),
        len(anomalous),
        sum(bool(verdict.error) for verdict in verdicts),
        threshold,
        worst.score if worst else None,
        printable(worst.file) if worst else "",
        worst.start if worst else None,
    )

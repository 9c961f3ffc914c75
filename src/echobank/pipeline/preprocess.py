"""Stage one: read and check every recording once, in parallel; keep its facts and its log-mel spectrogram."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path

from echobank.data.dcase import Recording
from echobank.data.index import ClipFacts
from echobank.errors import AudioError, InputError
from echobank.models.feeding import Skipped
from echobank.models.workers import start_workers
from echobank.pipeline.run import Run


@dataclass(frozen=True)
class Preprocessed:
    """What was heard.

    Attributes:
        clips: Recordings that can be used.
        hours: Their length.
        flags: How many carry each quality flag.
        notes: What does not add up about recordings that are used all the same.
        skipped: Recordings that cannot be used, and files that are not recordings of the data set.
        folder: Where the index and the cache lie.
    """

    clips: int
    hours: float
    flags: dict[str, int]
    notes: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    folder: Path


def preprocess(run: Run) -> Preprocessed:
    """Fill the index and the log-mel cache; what they already hold is not read again.

    Raises:
        InputError: The folder holds no recordings, or none that can be used.
        OutputError: The cache cannot be written.
    """
    recordings = run.dataset.recordings
    facts: list[ClipFacts] = []
    problems = [(problem, f"{problem.path}: {problem.reason}") for problem in run.dataset.problems]
    skipped = [Skipped(problem.path.name, line) for problem, line in problems if problem.left_out]
    notes = tuple(line for problem, line in problems if not problem.left_out)
    run.remember_root()
    outcomes = run.progress(_check_all(run, recordings), total=len(recordings), label="preprocess")
    for outcome in outcomes:
        if isinstance(outcome, Skipped):
            skipped.append(outcome)
        else:
            facts.append(outcome)
    if not facts:
        raise InputError(f"none of the {len(recordings)} recordings can be used ({skipped[0].reason})", where=run.root)
    flags = Counter(flag for item in facts for flag in item.flags)
    hours = sum(item.seconds for item in facts) / 3600
    ordered = tuple(sorted(skipped, key=lambda item: item.reason))
    return Preprocessed(len(facts), hours, dict(sorted(flags.items())), notes, ordered, run.cache)


def _check_all(run: Run, recordings: tuple[Recording, ...]) -> Iterator[ClipFacts | Skipped]:
    def check(recording: Recording) -> ClipFacts | Skipped:
        try:
            return run.reader.check(recording.path)
        except AudioError as error:
            return Skipped(recording.name, str(error))

    workers = start_workers(run.config.data.workers)
    try:
        for future in as_completed([workers.submit(check, recording) for recording in recordings]):
            yield future.result()
    finally:
        workers.shutdown(wait=True, cancel_futures=True)

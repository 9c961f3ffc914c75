"""The study: every clip embedded once for all poolings, then a whole grid of settings scored and compared."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echobank.data.dcase import Recording
from echobank.detection.bank import Bank, build_bank
from echobank.detection.header import BankHeader
from echobank.errors import BankError, ConfigError, InputError
from echobank.evaluation.comparison import CellResult, CellScores, StudySet, backend_of, compare
from echobank.evaluation.grid import Cell, configured
from echobank.evaluation.score_store import ScoreStore
from echobank.evaluation.study_level import beside_level
from echobank.evaluation.study_table import study_csv, study_markdown
from echobank.models.embedding_store import EmbeddingStore
from echobank.models.encoder import Float32
from echobank.models.feeding import Embedded, Skipped, embed_each
from echobank.models.pooling import Pooling
from echobank.pipeline.run import Run
from echobank.pipeline.train import bank_row, groups_of, training_clips
from echobank.report.figures import require_matplotlib
from echobank.report.study_figure import study_figure
from echobank.storage import write_text

_FIGURE = "study.svg"
_Key = tuple[str, bool]


@dataclass(frozen=True)
class Studied:
    """What a study found and wrote.

    Attributes:
        results: One per setting, in the order of the grid.
        reference: Position of the setting that others are compared with.
        files: The table, the text and the figure.
        skipped: Recordings that were left out.
        level: What level alone scores on the same clips, and which settings do no better or follow it, in words.
    """

    results: tuple[CellResult, ...]
    reference: int
    files: tuple[Path, ...]
    skipped: tuple[Skipped, ...]
    level: tuple[str, ...] = ()


def study(run: Run, cells: Sequence[Cell]) -> Studied:
    """Score and compare settings; what an interrupted study has done is not done again.

    Raises:
        ConfigError: Augmentation is on, or a pooling, back-end or parameter does not exist.
        InputError: No test clip has a known condition, or a machine has no usable training clips.
        OutputError: A file cannot be written.
    """
    if run.config.augmentation.enabled:
        raise ConfigError("a study compares banks without augmentation", hint="set augmentation.enabled=false")
    require_matplotlib()
    for cell in cells:
        backend_of(cell)
    poolings = {_key(cell): Pooling(cell.pooling.name, cell.bands, cell.pooling.params) for cell in cells}
    sets, skipped = _embed(run, poolings)
    own = configured(run.config).values
    reference = next((i for i, cell in enumerate(cells) if cell.values == own), 0)
    scored = list(run.progress(_score(run, cells, sets), total=len(cells), label="score"))
    first = next(iter(sets.values()))
    results = compare(cells, scored, first, reference=reference, seed=run.config.seed)
    level = beside_level(results, scored, first)
    folder = run.output / "study"
    texts = {
        "study.csv": study_csv(results),
        "study.md": study_markdown(results, cells[reference], [*_facts(run, first, skipped), *level], _FIGURE),
        _FIGURE: study_figure(results, reference),
    }
    for name, text in texts.items():
        write_text(folder / name, text)
    return Studied(results, reference, tuple(folder / name for name in texts), tuple(skipped), level)


def _key(cell: Cell) -> _Key:
    return str(cell.pooling), cell.bands


def _embed(run: Run, poolings: Mapping[_Key, Pooling]) -> tuple[dict[_Key, list[StudySet]], list[Skipped]]:
    sets: dict[_Key, list[StudySet]] = {key: [] for key in poolings}
    skipped: list[Skipped] = []
    for machine in run.dataset.machines:
        for section in run.dataset.require_train(machine):
            tests = [r for r in run.dataset.select(machine, section, "test") if r.condition != "unknown"]
            if not tests:
                continue
            train = training_clips(run, machine, section)
            known = _embed_each(run, train, list(poolings.values()), f"{machine} {section} train", silent=False)
            asked = _embed_each(run, tests, list(poolings.values()), f"{machine} {section} test", silent=True)
            skipped += [*known[0].skipped, *asked[0].skipped]
            groups = groups_of([run.reader.check(train[i].path) for i in known[0].kept])
            rows = [bank_row(run, train[i], "", groups) for i in known[0].kept]
            heard = [run.reader.check(train[i].path).rms_dbfs for i in known[0].kept]
            for key, bank, queries in zip(poolings, known, asked, strict=True):
                kept = [tests[i] for i in queries.kept]
                levels = np.array([run.reader.check(recording.path).rms_dbfs for recording in kept])
                alone = np.abs(levels[:, None] - heard).min(axis=1)
                header = BankHeader(run.provenance_with(poolings[key]))
                sets[key].append(_study_set(build_bank(bank.vectors, rows, header), queries.vectors, kept, alone))
    if not all(sets.values()):
        raise InputError("no test clip tells whether it is normal: a study needs the development set", where=run.root)
    return sets, skipped


def _embed_each(
    run: Run, recordings: Sequence[Recording], poolings: Sequence[Pooling], label: str, *, silent: bool
) -> list[Embedded]:
    embedded = embed_each(
        [run.reader.source(recording.path, allow_silent=silent) for recording in recordings],
        run.encoder,
        poolings,
        [EmbeddingStore(run.cache, run.provenance_with(pooling)) for pooling in poolings],
        layer=run.config.model.layer,
        batch_size=run.config.model.batch_size,
        workers=run.config.data.workers,
        progress=run.progress,
        label=label,
    )
    if not len(embedded[0].kept):
        raise InputError(f"none of these clips can be used ({embedded[0].skipped[0].reason})", where=label)
    return embedded


def _study_set(bank: Bank, vectors: Float32, recordings: Sequence[Recording], alone: NDArray[np.float64]) -> StudySet:
    return StudySet(
        bank,
        vectors,
        tuple(recording.name for recording in recordings),
        np.array([recording.condition == "anomaly" for recording in recordings]),
        np.array([recording.domain for recording in recordings]),
        alone,
    )


def _score(
    run: Run, cells: Sequence[Cell], sets: Mapping[_Key, Sequence[StudySet]]
) -> Iterator[list[CellScores] | str]:
    """Yield what each setting gave, or why it cannot be used on these banks."""
    store = ScoreStore(run.cache, run.config.decision.method)
    for cell in cells:
        try:
            yield [store.score(cell, data) for data in sets[_key(cell)]]
        except BankError as error:
            yield str(error)


def _facts(run: Run, sets: Sequence[StudySet], skipped: Sequence[Skipped]) -> list[str]:
    facts = run.encoder.facts
    weights = f", weights {facts.weights_sha256[:12]}" if facts.weights_sha256 else ""
    layer = "last layer" if run.config.model.layer is None else f"layer {run.config.model.layer}"
    lines = [f"Encoder {facts.name}{weights}, {layer}, {facts.precision} by {facts.engine}."]
    for data in sets:
        row = data.bank.rows[0]
        normal, anomalous = _count(data.domains[~data.anomaly]), _count(data.domains[data.anomaly])
        lines.append(
            f"{row.machine} section {row.section}: {_count(data.bank.domains)} training clips; "
            f"{normal} normal and {anomalous} anomalous test clips."
        )
    decisions = (
        f"Decisions: {run.config.decision.method}, each clip of the bank scored without itself, not without its state"
    )
    lines.append(f"{decisions}; the domain of a test clip is taken as unknown.")
    return [*lines, f"{len(skipped)} recordings could not be used."] if skipped else lines


def _count(domains: NDArray[np.str_]) -> str:
    names, counts = np.unique(domains, return_counts=True)
    return " + ".join(f"{count} {name}" for name, count in zip(names, counts, strict=True)) or "no"

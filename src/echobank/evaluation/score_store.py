"""Scores of a study on disk, so that an interrupted one continues where it stopped."""

import hashlib
import json
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import echobank.detection
from echobank.evaluation.comparison import CellScores, StudySet, score_set
from echobank.evaluation.grid import Cell
from echobank.storage import write_json


class ScoreStore:
    """Keeps what each setting gave on each machine, by the content of everything that it depends on."""

    def __init__(self, folder: Path | str, decision: str) -> None:
        self._folder = Path(folder) / "study"
        self._decision = decision
        self._digests: dict[int, tuple[StudySet, str]] = {}

    def score(self, cell: Cell, data: StudySet) -> CellScores:
        """Return what an earlier study found, or score now and keep it.

        Raises:
            BankError: As `study.score_set`.
            ConfigError: As `study.score_set`.
            OutputError: The result cannot be kept.
        """
        text = json.dumps([_code(), *cell.values, self._decision, self._digest(data)])
        path = self._folder / f"{hashlib.sha256(text.encode()).hexdigest()}.json"
        known = _read(path)
        if known is None:
            known = score_set(cell, data, self._decision)
            write_json(path, _plain(known))
        return known

    def _digest(self, data: StudySet) -> str:
        if id(data) not in self._digests:
            rows = [asdict(row) | {"attributes": dict(row.attributes)} for row in data.bank.rows]
            facts = [rows, data.names, data.anomaly.tolist(), data.domains.tolist()]
            digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
            digest.update(data.bank.vectors.tobytes())
            digest.update(data.vectors.tobytes())
            self._digests[id(data)] = (data, digest.hexdigest())
        return self._digests[id(data)][1]


@cache
def _code() -> str:
    """Return a hash of how clips are scored and decided on: someone who edits a back-end must not see old scores."""
    digest = hashlib.sha256()
    for path in sorted(Path(echobank.detection.__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _plain(scored: CellScores) -> dict[str, Any]:
    return {
        "scores": scored.scores.tolist(),
        "alarms": [[rate, domain, count] for (rate, domain), count in scored.alarms.items()],
        "seconds": list(scored.seconds),
        "peak_bytes": scored.peak_bytes,
    }


def _read(path: Path) -> CellScores | None:
    """Return a kept result, None when there is none or it is damaged."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        fit, score = kept["seconds"]
        alarms = {(float(rate), str(domain)): int(count) for rate, domain, count in kept["alarms"]}
        return CellScores(np.array(kept["scores"], dtype=np.float64), alarms, (fit, score), int(kept["peak_bytes"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None

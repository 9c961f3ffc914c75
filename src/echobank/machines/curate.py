"""Curation: what may be done to the bank of a machine after it was fitted. Each is a function bank -> bank."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echobank.detection.backends.coreset import greedy_centres
from echobank.detection.backends.knn import mean_of
from echobank.detection.bank import Bank, Row
from echobank.detection.growth import grown_scores
from echobank.detection.leave_one_out import Dropped
from echobank.detection.search import Index
from echobank.errors import BankError, InputError
from echobank.machines.gain import LEVEL
from echobank.machines.groups import in_groups
from echobank.machines.harvest import Harvest
from echobank.machines.machine import (
    backend_of,
    calibrated,
    calibration_of,
    own_machine,
    rate_and_threshold,
    window_of,
)
from echobank.machines.neighbourhood import within_means
from echobank.machines.traits import kept as traits_kept
from echobank.models.encoder import Float32


@dataclass(frozen=True)
class Difference:
    """How two banks differ.

    Attributes:
        added: Recordings that only the second has.
        removed: Recordings that only the first has.
        settings: (name, first, second) of every setting that differs.
        thresholds: Score thresholds of the first and the second.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    settings: tuple[tuple[str, Any, Any], ...]
    thresholds: tuple[float, float]


def add(bank: Bank, harvest: Harvest, folders: Sequence[str] = ()) -> Bank:
    """Return the bank with more healthy windows; only they were embedded, and what it knows already is left out.

    It knows a recording by its bytes and by its sound; a bank of an older version has no hashes of sound, and takes a
    copy in another container for a new recording.

    Args:
        bank: The bank.
        harvest: What was heard.
        folders: Folders that the names are relative to, so that the recordings can be found again.

    Raises:
        InputError: A recording is in the bank with another operating state.
    """
    states = _states(bank)
    for row in harvest.rows:
        known = next((states[key] for key in _hashes(row) if key in states), row.domain)
        if known != row.domain:
            raise InputError(
                f"{row.file} is in the bank with another operating state",
                value=f"{known}, now {row.domain}",
                hint="remove it first",
            )
    fresh = [i for i, row in enumerate(harvest.rows) if not states.keys() & _hashes(row)]
    grouped = in_groups([harvest.rows[i] for i in fresh], window_of(bank.header).seconds)
    keep = [(i, row) for i, row in zip(fresh, grouped, strict=True) if row.group]
    if not keep:
        return bank
    index = [i for i, _ in keep]
    more = {"profile": harvest.profiles[index], LEVEL: harvest.levels[index], **traits_kept(harvest.traits[index])}
    bigger, places = _joined(bank, harvest.vectors[index], [row for _, row in keep], more)
    bigger = _with(bigger, roots=_union(own_machine(bank).roots, folders))
    if bigger.header.scoring and not own_machine(bigger).max_rows:
        bigger = dataclasses.replace(bigger, own=grown_scores(bank, bigger, places, bigger.header.scoring))
    return _bounded(bigger)


def remove(bank: Bank, patterns: Sequence[str]) -> Bank:
    """Return the bank without the recordings whose name, or the start of whose hash, matches a pattern.

    Raises:
        BankError: A pattern matches nothing, or nothing would be left.
    """
    gone = np.zeros(len(bank), dtype=bool)
    for pattern in patterns:
        hit = np.array([_matches(row, pattern) for row in bank.rows])
        if not hit.any():
            raise BankError("no recording of the bank matches", value=pattern, hint="`bank info --rows` lists them")
        gone |= hit
    if gone.all():
        raise BankError("nothing would be left in the bank")
    forgotten = {row.sha256 for row, hit in zip(bank.rows, gone, strict=True) if hit}
    left_out = _chosen(bank.dropped, lambda group: _recording(group) not in forgotten)
    return calibrated(within_means(dataclasses.replace(bank.select(~gone), dropped=left_out))[0])


def merge(banks: Sequence[Bank]) -> Bank:
    """Return one bank of the rows of several; what two of them know is taken once.

    Raises:
        BankError: Something else made one of them.
    """
    merged = banks[0]
    for other in banks[1:]:
        if other.header.provenance != merged.header.provenance:
            raise BankError(
                "banks made by different encoders or windows cannot be merged", hint="`bank diff` shows what differs"
            )
        known = _states(merged)
        for row in other.rows:
            if there := {known[key] for key in _hashes(row) if key in known} - {row.domain}:
                raise InputError(f"tags of {row.file} disagree", value=f"{there.pop()}, {row.domain}")
        fresh = np.array([not known.keys() & _hashes(row) for row in other.rows])
        if fresh.any():
            taken = other.select(fresh)
            merged, _ = _joined(merged, taken.vectors, taken.rows, taken.extras)
        merged = _with(merged, roots=_union(own_machine(merged).roots, own_machine(other).roots))
        counted = {*known, *(_recording(group) for group in merged.dropped.groups)}
        more = _chosen(other.dropped, lambda group, counted=counted: _recording(group) not in counted)  # type: ignore[misc]
        merged = dataclasses.replace(merged, dropped=_together(merged.dropped, more))
    return _bounded(merged)


def compact(bank: Bank, size: int) -> Bank:
    """Return a bank of at most `size` rows chosen by greedy k-centre; later additions keep to the bound.

    Rows that lie far from all others are chosen first, so that rare healthy states stay. The rows that are left
    out still calibrate: each is scored against the chosen rows of other groups, and the scores are kept.

    Raises:
        BankError: Fewer rows than the back-end needs.
    """
    if size < 2:
        raise BankError("a bank needs two rows or more", value=size)
    bank = _with(bank, max_rows=size)
    if len(bank) <= size:
        return calibrated(bank)
    chosen = np.sort(greedy_centres(bank.vectors, size))
    kept, _ = within_means(bank.select(chosen))
    left = bank.select(np.setdiff1d(np.arange(len(bank)), chosen))
    if kept.groups.max() == 0:
        raise BankError("the rows that are left come from one recording", value=size, hint="keep more rows")
    left_out = _together(bank.dropped, Dropped(_against(kept, left), tuple(left.columns.words["group"].array())))
    return calibrated(dataclasses.replace(kept, dropped=left_out))


def _against(kept: Bank, left: Bank) -> NDArray[np.float64]:
    """Return the score of each row of one bank against the rows of other groups in another, float64[N]."""
    names = [bank.columns.words["group"].array() for bank in (kept, left)]
    ours, theirs = np.split(np.unique(np.concatenate(names), return_inverse=True)[1], [len(kept)])
    scoring = kept.header.scoring
    if scoring and scoring.backend == "knn":
        index = Index(kept.vectors, scoring.metric, kept.lengths)
        return mean_of(index.nearest(left.vectors, scoring.k, theirs, ours)[0])
    scores = np.empty(len(left))
    for group in np.unique(theirs):
        scores[theirs == group] = backend_of(kept.select(ours != group)).score(left.vectors[theirs == group])
    return scores


def recalibrate(bank: Bank, rate: float | None) -> Bank:
    """Return the bank with its scores computed again and its false-alarm rate set; None takes the usual rate.

    Raises:
        InputError: The bank does not support the rate.
    """
    bank = calibrated(bank)
    if rate is not None:
        calibration_of(bank).threshold(rate)
    return with_rate(bank, rate)


def with_rate(bank: Bank, rate: float | None) -> Bank:
    """Return the bank set to a false-alarm rate; None takes the usual one."""
    return _with(bank, rate=rate)


def difference(first: Bank, second: Bank) -> Difference:
    """Return how two banks differ."""
    ours, theirs = ({row.sha256: row.file for row in bank.rows} for bank in (first, second))
    one, two = (_comparable(bank) for bank in (first, second))
    settings = tuple(
        (name, one.get(name), two.get(name)) for name in sorted(set(one) | set(two)) if one.get(name) != two.get(name)
    )
    return Difference(
        tuple(sorted(file for sha, file in theirs.items() if sha not in ours)),
        tuple(sorted(file for sha, file in ours.items() if sha not in theirs)),
        settings,
        (rate_and_threshold(first)[1], rate_and_threshold(second)[1]),
    )


def _joined(bank: Bank, vectors: Float32, rows: Sequence[Row], extras: Any) -> tuple[Bank, NDArray[np.int64]]:
    """Return the bank with more rows, and where its own rows went."""
    if vectors.shape[1:] != bank.vectors.shape[1:]:
        raise BankError("the embeddings do not fit the bank", value=(vectors.shape[1:], bank.vectors.shape[1:]))
    columns = bank.columns.joined(rows)
    order = columns.order()
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    old = places[: len(bank)]
    together = {name: _placed(array, extras[name], places) for name, array in bank.extras.items() if name in extras}
    joined = Bank(
        _placed(bank.vectors, vectors, places), columns.take(order), bank.header, together, dropped=bank.dropped
    )
    return joined, old


def _placed(first: Float32, second: Float32, places: NDArray[np.int64]) -> Float32:
    """Return the rows of two arrays in one, each at its place."""
    whole = np.empty((len(places), *first.shape[1:]), np.float32)
    whole[places[: len(first)]], whole[places[len(first) :]] = first, second
    return whole


def _states(bank: Bank) -> dict[str, str]:
    """Return the operating state of each recording, by the hash of its bytes and by that of its sound."""
    words = bank.columns.words
    states, known = words["domain"], dict[str, str]()
    for hashes in (words["sha256"], words["sound_sha256"]):
        first = np.unique(hashes.codes, return_index=True)[1]
        known |= {hashes[int(row)]: states[int(row)] for row in first}
    known.pop("", None)
    return known


def _bounded(bank: Bank) -> Bank:
    limit = own_machine(bank).max_rows
    if limit:
        return compact(bank, limit)
    return calibrated(bank) if bank.own is None else bank


def _with(bank: Bank, **facts: Any) -> Bank:
    """Return the bank with other facts of its machine."""
    machine = dataclasses.replace(own_machine(bank), **facts)
    return dataclasses.replace(bank, header=dataclasses.replace(bank.header, machine=machine))


def _union(first: Sequence[str], second: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*first, *second]))


def _chosen(dropped: Dropped, keep: Callable[[str], bool]) -> Dropped:
    kept = [i for i, group in enumerate(dropped.groups) if keep(group)]
    return Dropped(dropped.scores[kept], tuple(dropped.groups[i] for i in kept))


def _together(first: Dropped, second: Dropped) -> Dropped:
    return Dropped(np.concatenate([first.scores, second.scores]), (*first.groups, *second.groups))


def _hashes(row: Row) -> set[str]:
    """Return what a recording is known by: the hash of its bytes, and that of its sound where there is one."""
    return {row.sha256, row.sound_sha256} - {""}


def _recording(group: str) -> str:
    """Return the hash of the recording that a group is, or is a block of."""
    return group.partition(" ")[0]


def _matches(row: Row, pattern: str) -> bool:
    return row.file == pattern or fnmatch(row.file, pattern) or (len(pattern) >= 8 and row.sha256.startswith(pattern))


def _comparable(bank: Bank) -> dict[str, Any]:
    header, machine = bank.header, own_machine(bank)
    made = header.provenance.to_header() if header.provenance else {}
    return {
        "machine": machine.name,
        "embedding": machine.embedding,
        "scoring": dataclasses.asdict(header.scoring) if header.scoring else None,
        "false_alarm_rate": machine.rate,
        "max_rows": machine.max_rows,
        "versions": dict(header.versions),
        **{f"made_by.{name}": value for name, value in made.items()},
    }

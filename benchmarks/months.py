"""Simulated years of one machine: how long a checkup takes to find a change, what it names it, and how often it errs.

    python benchmarks/months.py pool --out pool.npz              # renders and embeds some conditions, once
    python benchmarks/months.py years --pool pool.npz            # the table of changes, ten seeds each
    python benchmarks/months.py still --pool pool.npz            # fifty years without a change
    python benchmarks/months.py dependent                        # where neighbouring hours resemble each other

The pool holds clips of `echobank synth`'s bearing at every step of each condition, with their embeddings and the facts
of their sound. A year draws six windows per hour from it; temperature swings from hour to hour and by time of day, so
that neighbouring hours resemble each other. Nothing of it is a real machine.
"""

import argparse
import statistics
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from months_conditions import CHAIN, CONDITIONS, clip_of, steps_of
from numpy.typing import NDArray

from echobank.data.audio import quality
from echobank.data.sound_facts import paired, sound_facts
from echobank.detection.bank import Row
from echobank.detection.header import BankHeader, OwnMachine, Scoring
from echobank.machines.checkup.blocks import independent_blocks
from echobank.machines.checkup.checkup import Checkup, check_up
from echobank.machines.checkup.history import History
from echobank.machines.checkup.hourly import Hours, Texts, WindowColumns, hours_of
from echobank.machines.checkup.regimes import shifts_of
from echobank.machines.fit import fit_bank, machine_config, make_listener
from echobank.machines.harvest import Harvest
from echobank.machines.machine import Machine, assemble

DAY, HOUR = 86_400_000, 3_600_000
A_STEP = 60  # clips
BANK_CLIPS = 60
AN_HOUR = 6  # windows
CHANGE = 100  # day
BEGIN = 1_735_689_600_000  # 1 January 2025


@dataclass(frozen=True)
class Pool:
    """Clips of every step of each condition: condition and step of each, embeddings, facts and level."""

    condition: NDArray[np.str_]
    step: NDArray[np.int64]
    vectors: NDArray[np.float32]
    profiles: NDArray[np.float32]
    facts: NDArray[np.int16]
    levels: NDArray[np.float64]


def make_pool(out: Path, encoder: str, seed: int) -> None:
    """Render, embed and write the pool."""
    listener = make_listener(machine_config(None, [f"model.embedding={encoder}"]), 6.0, 6.0)
    kept: dict[str, list] = {name: [] for name in ("condition", "step", "vectors", "profiles", "facts", "levels")}
    for condition, step in steps_of():
        for i in range(A_STEP):
            clip = clip_of(condition, step, np.random.default_rng([seed, i, step, sum(map(ord, condition))]))
            near, far = np.ascontiguousarray(clip[:, 0]), np.ascontiguousarray(clip[:, 1])
            vectors, profiles, _ = listener.embed([near])
            facts = paired(sound_facts(near, 16_000), sound_facts(far, 16_000), quality(far, 16_000)[1])
            values = (condition, step, vectors[0], profiles[0], facts, quality(near, 16_000)[1])
            for name, value in zip(kept, values, strict=True):
                kept[name].append(value)
        print(condition, step, file=sys.stderr)
    np.savez_compressed(out, **{name: np.array(values) for name, values in kept.items()})


def read_pool(path: Path) -> Pool:
    """Return a pool that was written."""
    arrays = np.load(path)
    return Pool(**{name: arrays[name] for name in Pool.__dataclass_fields__})


def bank_of(pool: Pool, encoder: str) -> tuple[Machine, NDArray[np.bool_]]:
    """Return the machine fitted on some usual clips of the pool, and which clips those are."""
    usual = np.flatnonzero((pool.condition == "temperature") & np.isin(pool.step, (1, 2, 3)))
    chosen = usual[:: max(1, len(usual) // BANK_CLIPS)]
    rows = tuple(Row(f"{i}.wav", "bearing", domain="normal", sha256=f"{i:064d}", seconds=6.0) for i in chosen.tolist())
    none = np.zeros((len(chosen), 0), np.float32)
    arrays = pool.vectors[chosen], pool.profiles[chosen], pool.levels[chosen].astype(np.float32), none
    config = machine_config(None, [f"model.embedding={encoder}"])
    listener, scoring = make_listener(config, 6.0, 6.0), config.scoring
    scored = Scoring(scoring.backend, scoring.metric, config.model.k, dict(scoring.params))
    header = BankHeader(listener.provenance, scored, machine=OwnMachine("bearing", encoder, None))
    bank, _ = fit_bank(Harvest(*arrays, rows, (), (), ()), header)
    mask = np.zeros(len(pool.step), dtype=bool)
    mask[chosen] = True
    return assemble(bank, listener), mask


class Year:
    """Draws windows of a machine from the pool.

    Args:
        pool: The pool.
        machine: The machine that scores them.
        known: Clips that are in its bank; they are never drawn.
    """

    def __init__(self, pool: Pool, machine: Machine, known: NDArray[np.bool_]) -> None:
        self.pool, self.machine = pool, machine
        self.scores = machine.backend.score(pool.vectors)
        self.p_values = machine.calibration.p_values(self.scores)
        self.nearest = np.array([machine.bank.rows[int(i)].file for i in machine.backend.nearest(pool.vectors)])
        self._clips = {
            (condition, step): np.flatnonzero((pool.condition == condition) & (pool.step == step) & ~known)
            for condition, step in steps_of()
        }

    def history(self, scenario: str, days: int, seed: int) -> History:
        """Return the history of some days in which a change begins on day `CHANGE`."""
        rng = np.random.default_rng([seed, sum(map(ord, scenario))])
        hours = np.arange(days * 24)
        place = temperature(hours, scenario, rng)
        chosen = np.empty((len(hours), AN_HOUR), np.int64)
        for i, (hour, warm) in enumerate(zip(hours.tolist(), place.tolist(), strict=True)):
            chosen[i] = self._drawn(scenario, hour / 24, warm, rng)
        return self._history(chosen, hours, rng)

    def _drawn(self, scenario: str, day: float, warm: float, rng: np.random.Generator) -> NDArray[np.int64]:
        share = CONDITIONS[scenario](day - CHANGE) if scenario in CONDITIONS else 0.0
        if share <= 0:
            condition, at = "temperature", warm
        else:
            condition, last = scenario, max(step for name, step in steps_of() if name == scenario)
            at = share * (last + 1) - 1 if last else 0.0
        found = []
        for _ in range(AN_HOUR):
            step = int(np.floor(at) + (rng.random() < at - np.floor(at)))
            name = condition
            if step < 0 or (scenario == "new_state" and rng.random() > 0.3):
                name, step = "temperature", round(warm)
            found.append(rng.choice(self._clips[name, step]))
        return np.array(found)

    def _history(self, chosen: NDArray[np.int64], hours: NDArray[np.int64], rng: np.random.Generator) -> History:
        clips = chosen.reshape(-1)
        names, codes = np.unique(self.nearest[clips], return_inverse=True)
        none = Texts(np.zeros(len(clips), np.int64), ("",))
        heard = BEGIN + np.repeat(hours, AN_HOUR) * HOUR + np.tile(np.arange(AN_HOUR) * 600_000, len(hours))
        columns = WindowColumns(
            heard=heard,
            revision=np.ones(len(clips), np.int64),
            score=self.scores[clips],
            p_value=self.p_values[clips],
            decision=(self.scores[clips] > self.machine.threshold).astype(float),
            level_dbfs=self.pool.levels[clips],
            flags=none,
            nearest=Texts(codes.reshape(-1), tuple(names.tolist())),
            quiet=none,
            facts=self.pool.facts[clips],
        )
        found, states = hours_of(columns)
        return History(found, Counter(self.nearest[clips].tolist()), tuple(states), {}, 0)


def temperature(hours: NDArray[np.int64], scenario: str, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the step of `temperature`, 0 to 4, by hour: time of day, weather, and the season where it is asked for."""
    weather, place = np.empty(len(hours)), 0.0
    for i, noise in enumerate(rng.standard_normal(len(hours)).tolist()):
        place = 0.97 * place + 0.243 * noise  # deviation 1, a day and a half of memory
        weather[i] = place
    season = 1.6 * np.sin(2 * np.pi * (hours / 24 - CHANGE) / 365.25) * (hours >= CHANGE * 24) * (scenario == "season")
    return np.clip(2 + 0.35 * np.sin(2 * np.pi * hours / 24) + 0.3 * weather + season, 0, 4)


def named(checkup: Checkup) -> list[tuple[str, str, float, float]]:
    """Return what each change was named: about, kind, day it was found, day it began."""
    changes = [it for it in checkup.findings if it.found is not None and it.since is not None]
    return [(it.about, it.kind, (it.found - BEGIN) / DAY, (it.since - BEGIN) / DAY) for it in changes]  # type: ignore[operator]


def years(pool: Pool, encoder: str, seeds: int, days: int) -> None:
    """Print a row per scenario."""
    machine, known = bank_of(pool, encoder)
    year = Year(pool, machine, known)
    print("| change | found | days to find it, median (worst) | named | begins, days from the truth | before it |")
    print("|---|---|---|---|---|---|")
    for scenario in ("season", *CONDITIONS):
        _row(scenario, [check_up(machine.bank, year.history(scenario, days, seed), now=0) for seed in range(seeds)])


def _row(scenario: str, checkups: list[Checkup]) -> None:
    delays, errors, names, early = [], [], Counter(), 0
    for checkup in checkups:
        changes = sorted(named(checkup), key=lambda change: change[2])
        early += sum(found < CHANGE for _, _, found, _ in changes)
        after = [change for change in changes if change[2] >= CHANGE]
        chain = [change for change in after if change[0] == "recording chain"]
        first = (chain or after)[:1] if scenario in CHAIN else after[:1]
        for about, kind, _, since in first:
            delays.append(after[0][2] - CHANGE)
            errors.append(since - CHANGE)
            names[f"{about}: {kind}"] += 1
    delay = f"{statistics.median(delays):.1f} ({max(delays):.1f})" if delays else "-"
    error = f"{statistics.median(errors):+.1f}" if errors else "-"
    said = ", ".join(f"{name} {count}" for name, count in names.most_common())
    print(f"| {scenario} | {len(delays)} of {len(checkups)} | {delay} | {said} | {error} | {early} |", flush=True)


def still(pool: Pool, encoder: str, seeds: int, days: int) -> None:
    """Print what was found where nothing changed."""
    machine, known = bank_of(pool, encoder)
    year = Year(pool, machine, known)
    alarms, warned, rate = 0, 0, 0.0
    for seed in range(seeds):
        checkup = check_up(machine.bank, year.history("none", days, seed), now=0)
        changes = named(checkup)
        alarms += len(changes)
        warned += any(it.level == "warning" and it.found is not None for it in checkup.findings)
        rate = checkup.false_alarms
        print(f"{seed}: blocks of {checkup.block_hours} h, {changes or 'nothing'}", file=sys.stderr, flush=True)
    total = seeds * days / 365.25
    print(
        f"{total:.0f} years without a change: {alarms} changes found, {alarms / total:.3f} per year; stated: {rate:g}"
    )


def dependent(seeds: int, days: int) -> None:
    """Print how often the test errs where neighbouring hours resemble each other, by their autocorrelation."""
    for memory in (0.0, 0.3, 0.5, 0.7, 0.9, 0.97):
        alarms, lengths = 0, []
        for seed in range(seeds):
            rng, count = np.random.default_rng(seed), days * 24
            values, place = np.empty(count), 0.0
            for i, noise in enumerate(rng.standard_normal(count).tolist()):
                place = memory * place + np.sqrt(1 - memory**2) * noise
                values[i] = place
            values += np.sin(2 * np.pi * np.arange(count) / 24)
            none, ones = np.zeros(count), np.ones(count, np.int64)
            facts = np.zeros((count, 1), np.float32)
            hours = Hours(np.arange(count) * HOUR, ones, ones, 0 * ones, values, none, none, facts)
            blocks = independent_blocks(hours, values)
            alarms += len(shifts_of(blocks.medians(values), blocks, 0.05))
            lengths.append(blocks.length)
        said = f"{alarms} changes found in {seeds * days / 365.25:.0f} years, stated 0.05 per year"
        print(f"autocorrelation {memory}: blocks of {min(lengths)} to {max(lengths)} h, {said}", flush=True)


def main() -> int:
    """Run one of the simulations."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("pool", "years", "still", "dependent"))
    parser.add_argument("--pool", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--encoder", default="soundnet")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--days", type=int, default=0)
    args = parser.parse_args()
    if args.what == "pool":
        make_pool(args.out, args.encoder, 0)
    elif args.what == "years":
        years(read_pool(args.pool), args.encoder, args.seeds, args.days or 300)
    elif args.what == "dependent":
        dependent(args.seeds, args.days or 1826)
    else:
        still(read_pool(args.pool), args.encoder, args.seeds, args.days or 1826)
    return 0


if __name__ == "__main__":
    sys.exit(main())

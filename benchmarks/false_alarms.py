"""False alarms on held-out healthy recordings: what each way of deciding gives where a rate is asked for.

    python benchmarks/false_alarms.py --toycar DIR --motors DIR --synth demo/data --figure docs/thresholds.svg

The domain of a clip is never known. Rivals: the gamma percentile of the official baseline, a quantile of both domains
together, a quantile by domain, and two more that are defined here. Held out are

  heard      ToyCar training clips: one car or speed of the source plays the target with ten clips in the bank
  rare       ToyCar source clips of four operating states (car, speed), of each of which the bank holds three
  unheard    the same with none in the bank
  test       normal test clips of ToyCar, 25 a domain
  motors     2 s windows of healthy motors; the target is one motor by three recordings, all tested are unheard
  synthetic  normal test clips of `echobank synth`; they are of no real machine

heard, rare and unheard come in two parts: on the first (cars B1, C1, D1, speed 31 V) the recommended method is chosen,
the one that answers at every rate and exceeds it least; the tables are of the second (B2, C2, D2, 34 V, 40 V).

The small default (soundnet, ldn with K = 16) has tables of its own and no part in the means over settings; --small
measures it alone, in an eighth of the time.
"""

import argparse
import itertools
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray
from recordings import add_recordings

from echobank.data.audio import read_clip
from echobank.data.dcase import Recording, scan
from echobank.data.windows import read_windows
from echobank.detection.bank import Bank, Row
from echobank.detection.decision import METHODS, Threshold, calibrate, decide
from echobank.detection.fitted import ScoringSettings, make
from echobank.detection.states import state_scores, states_of
from echobank.errors import InputError
from echobank.models.encoder import Encoder
from echobank.models.pooling import Pooling, pool
from echobank.models.registry import load_encoder

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Names = NDArray[np.str_]
Counts = dict[tuple[str, float, str], tuple[int, int]]  # (way, rate, domain or "anomaly"): called, tested

RATES = (0.01, 0.05, 0.1, 0.2)
BACKENDS: dict[str, tuple[str, dict[str, int]]] = {
    "knn": ("knn", {}),
    "ldn": ("ldn", {"K": 1}),
    "domain_ld": ("domain_ld", {}),
    "domain_z": ("domain_z", {}),
}
SMALL_ENCODER, SMALL_BACKEND = "soundnet", "ldn, K = 16"  # as configs/demo.yaml and `echobank fit`
BACKENDS_AND_SMALL = {**BACKENDS, SMALL_BACKEND: ("ldn", {"K": 16})}
PARTS = {"choose": ("B1", "C1", "D1", "31V"), "report": ("B2", "C2", "D2", "34V", "40V")}
SOURCE, TARGET = 99, 10  # clips of the bank where the target is played: 99 are the fewest that support 1 %
WINDOW = 2.0  # seconds, of the motors
KINDS = {"heard": "source target", "rare": "source", "unheard": "source", "motors": "source target"}
KINDS |= dict.fromkeys(("test", "synthetic"), "source target anomaly")


@dataclass(frozen=True)
class Trial:
    """A bank and what is tested on it.

    Attributes:
        of: Where it is from, the first column of the tables.
        bank: Healthy clips.
        tested: Held-out clips, float32[n, 1, D].
        kinds: Domain of each that is normal, "anomaly" for the others, str[n].
    """

    of: str
    bank: Bank
    tested: Float32
    kinds: Names


def plain_location_scale(scores: Float64, domains: Names, rate: float) -> tuple[Threshold, ...]:
    """Transport without allowing for the error of a mean and a deviation of ten scores."""
    (source, *_), own = calibrate(scores, domains, "transport", rate), scores[domains == "target"]
    large = scores[domains == "source"]
    value = own.mean() + (source.value - large.mean()) / large.std(ddof=1) * own.std(ddof=1)
    return source, replace(source, value=float(value), domain="target")


def weighted(scores: Float64, domains: Names, rate: float) -> tuple[Threshold, ...]:
    """Conformal with both domains together, the source weighing as much as the target (Barber et al., 2023)."""
    weights = np.where(domains == "target", 1.0, (domains == "target").sum() / (domains == "source").sum())
    order, allowed = np.argsort(-scores), rate * (weights.sum() + 1) - 1
    if allowed < 0:
        raise InputError("too few clips")
    beyond = np.flatnonzero(np.cumsum(weights[order]) > allowed)
    return (replace(calibrate(scores, domains, "pooled", rate)[0], value=float(scores[order[beyond[0]]])),)


RIVALS = {"plain location and scale": plain_location_scale, "weighted": weighted}
WAYS = [*((name, leave) for leave in ("clip", "state") for name in METHODS), *((name, "clip") for name in RIVALS)]


def call(trial: Trial, backend: str) -> Counts:
    """Return the calls of every way of deciding at every rate; those that are refused are lacking."""
    name, params = BACKENDS_AND_SMALL[backend]
    settings = ScoringSettings(name, "cosine", 1, params)
    fitted = make(settings).fit(trial.bank)
    scores = fitted.score(trial.tested)
    own = {"clip": fitted.self_scores(), "state": state_scores(trial.bank, lambda: make(settings))}
    domains, states = trial.bank.domains, {"clip": None, "state": states_of(trial.bank)}
    counts: Counts = {}
    for (name, leave), rate in itertools.product(WAYS, RATES):
        try:
            rival = RIVALS.get(name)
            scored = own[leave]
            thresholds = (
                rival(scored, domains, rate) if rival else calibrate(scored, domains, name, rate, states[leave])
            )
        except InputError:
            continue
        called = decide(scores, None, thresholds)
        for kind in np.unique(trial.kinds):
            here = trial.kinds == kind
            counts[f"{name}, {leave}", rate, str(kind)] = int(called[here].sum()), int(here.sum())
    return counts


def played(bank: Bank, part: str, seeds: int) -> Iterator[Trial]:
    """One car or speed of the source plays the target."""
    cars, speeds = (np.array([row.attributes[name] for row in bank.rows]) for name in ("car", "spd"))
    source = bank.domains == "source"
    for group, seed in itertools.product(PARTS[part], range(seeds)):
        rng = np.random.default_rng(seed)
        own = rng.permutation(np.flatnonzero(source & ((cars == group) | (speeds == group))))
        others = rng.permutation(np.flatnonzero(source & (cars != group) & (speeds != group)))
        rows = [bank.rows[i] for i in others[:SOURCE]] + [replace(bank.rows[i], domain="target") for i in own[:TARGET]]
        kept = np.concatenate([others[:SOURCE], own[:TARGET]])
        held = np.concatenate([others[SOURCE:], own[TARGET:]])
        kinds = np.repeat(["source", "target"], [len(others) - SOURCE, len(own) - TARGET])
        yield Trial("heard", Bank(bank.vectors[kept], tuple(rows)), bank.vectors[held], kinds)


def thinned(bank: Bank, part: str, seeds: int) -> Iterator[Trial]:
    """Four states of the source are rare or unheard."""
    states, source = states_of(bank), bank.domains == "source"
    mine = np.array([row.attributes["car"] in PARTS[part] for row in bank.rows]) & source
    for (of, left), seed in itertools.product((("rare", 3), ("unheard", 0)), range(2 * seeds)):
        rng = np.random.default_rng(seed)
        held = np.zeros(len(bank), dtype=bool)
        for state in rng.permutation(np.unique(states[mine]))[:4]:
            held[rng.permutation(np.flatnonzero(source & (states == state)))[left:]] = True
        yield Trial(of, bank.select(~held), bank.vectors[held], np.full(held.sum(), "source"))


def motors(root: Path, embed: Callable[[Float32], Float32], rate: int, seeds: int) -> Iterator[Trial]:
    """Every motor in turn is the target; three recordings of it and two thirds of the others' are in the bank."""
    files = sorted((root / "Healthy").rglob("*.wav"))
    vectors = {
        file: [embed(window.samples) for window in read_windows(file, seconds=WINDOW, hop=WINDOW, sample_rate=rate)]
        for file in files
    }
    for motor, seed in itertools.product(sorted({file.parent.name for file in files}), range(seeds)):
        rng = np.random.default_rng(seed)
        own = rng.permutation([str(file) for file in files if file.parent.name == motor])
        others = rng.permutation([str(file) for file in files if file.parent.name != motor])
        heard = [*((name, "target") for name in own[:3]), *((n, "source") for n in others[: 2 * len(others) // 3])]
        held = [*((name, "target") for name in own[3:]), *((n, "source") for n in others[2 * len(others) // 3 :])]
        rows = tuple(
            Row(name, "motor", domain=domain, attributes={"recording": name}, group=name, start=float(i))
            for name, domain in heard
            for i in range(len(vectors[Path(name)]))
        )
        bank, tested = ([v for name, _ in part for v in vectors[Path(name)]] for part in (heard, held))
        kinds = np.array([domain for name, domain in held for _ in vectors[Path(name)]])
        yield Trial("motors", Bank(np.stack(bank), rows), np.stack(tested), kinds)


def machines(root: Path, of: str, embed: Callable[[Float32], Float32], rate: int) -> Iterator[Trial]:
    """The training clips of each machine of a DCASE folder, and its test clips."""
    clips = scan(root).recordings
    for machine in sorted({clip.machine for clip in clips}):
        train, test = ([c for c in clips if c.machine == machine and c.split == split] for split in ("train", "test"))

        def vectors(chosen: Sequence[Recording]) -> Float32:
            return np.stack([embed(read_clip(clip.path, sample_rate=rate).samples) for clip in chosen])

        rows = tuple(Row(c.name, c.machine, domain=c.domain, attributes=dict(c.attributes)) for c in train)
        kinds = np.array(["anomaly" if clip.condition == "anomaly" else clip.domain for clip in test])
        yield Trial(of, Bank(vectors(train), rows), vectors(test), kinds)


class Tally:
    """The calls of all trials by (where from, encoder, back-end)."""

    def __init__(self) -> None:
        self._shares: dict[tuple[str, ...], list[float]] = defaultdict(list)

    def add(self, of: str, encoder: str, backend: str, counts: Counts) -> None:
        """Add the calls of one trial."""
        for (way, rate, kind), (called, tested) in counts.items():
            self._shares[of, encoder, backend, way, f"{rate}", kind].append(called / tested)

    def shares(self, of: str, way: str, rate: float, kind: str) -> list[list[float]]:
        """Return the shares of the trials, one list an encoder and back-end."""
        wanted = (of, way, f"{rate}", kind)
        return [x for (o, _, _, *rest), x in self._shares.items() if (o, *rest) == wanted]

    def cell(self, of: str, way: str, rate: float, kind: str) -> str:
        """Return the mean over all, and the least and the largest mean of an encoder and back-end."""
        means = [100 * np.mean(x) for x in self.shares(of, way, rate, kind)]
        if not means:
            return "refused"
        spread = f" ({min(means):.0f}-{max(means):.0f})" if len(means) > 1 else ""
        return f"{np.mean(means):.1f}{spread}"

    def exceeded(self, way: str) -> float:
        """Return by what factor the rate of the worse domain is exceeded over heard, rare and unheard; inf: refused."""
        factors = []
        for of, rate in itertools.product(("heard", "rare", "unheard"), RATES):
            kinds = [found for kind in ("source", "target") if (found := self.shares(of, way, rate, kind))]
            if not kinds:
                return float("inf")
            for each in zip(*kinds, strict=True):  # one encoder and back-end
                worse = max(float(np.mean(x)) for x in each)
                factors.append(max(0.0, np.log((worse + 0.005) / (rate + 0.005))))
        return float(np.exp(np.mean(factors)))


def table(tally: Tally, of: str, kinds: Sequence[str]) -> str:
    """Return the Markdown table of one kind of held-out clips, in percent."""
    columns = [(rate, kind) for rate in RATES for kind in kinds]
    head = " | ".join(f"{100 * rate:g} % {kind}" for rate, kind in columns)
    lines = [f"| {of} | {head} |", "|---" * (len(columns) + 1) + "|"]
    for name, leave in WAYS:
        way = f"{name}, {leave}"
        lines.append(f"| {way} | " + " | ".join(tally.cell(of, way, rate, kind) for rate, kind in columns) + " |")
    return "\n".join(lines)


def figure(tally: Tally, path: Path) -> None:
    """Draw the asked against the measured rate."""
    plt.switch_backend("svg")
    plt.rcParams.update({"svg.fonttype": "none", "font.size": 9, "svg.hashsalt": "false alarms"})
    panels = [("heard", "source"), ("heard", "target"), ("unheard", "source"), ("test", "source"), ("test", "target")]
    drawn = {"gamma, clip": "#999999", "pooled, clip": "#e69f00", "quantile, clip": "#56b4e9"}
    drawn |= {"transport, clip": "#009e73", "transport, state": "#d55e00"}
    fig, axes = plt.subplots(1, len(panels), figsize=(12, 3.2), sharey=True, layout="constrained")
    for ax, (of, kind) in zip(axes, panels, strict=True):
        ax.plot([0, 20], [0, 20], color="black", lw=0.8, ls=":")
        for way, colour in drawn.items():
            known = [(rate, tally.shares(of, way, rate, kind)) for rate in RATES]
            points = [(100 * rate, 100 * np.mean([np.mean(x) for x in found])) for rate, found in known if found]
            ax.plot(*zip(*points, strict=True), marker="o", ms=3.5, lw=1.4, color=colour, label=way)
        ax.set(title=f"{of}, {kind}", xlabel="asked, %", xticks=[1, 5, 10, 20], xlim=(0, 21), ylim=(0, 50))
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("measured, %")
    axes[0].legend(frameon=False, fontsize=8)
    fig.savefig(path, metadata={"Date": None})


def trials(args: argparse.Namespace, encoder: Encoder) -> Iterator[tuple[str, Trial]]:
    """Yield (part, trial) of every data set that is given."""
    rate = encoder.facts.sample_rate

    def embed(samples: Float32) -> Float32:
        return pool(encoder.tokens([samples])[0], Pooling("mean"))

    for whole in machines(args.toycar, "test", embed, rate):
        yield "report", whole
        for part in PARTS:
            for trial in itertools.chain(played(whole.bank, part, args.seeds), thinned(whole.bank, part, args.seeds)):
                yield part, trial
    if args.motors:
        yield from (("report", trial) for trial in motors(args.motors, embed, rate, args.seeds))
    if args.synth:
        yield from (("report", trial) for trial in machines(args.synth, "synthetic", embed, rate))


def show_all(tallies: dict[str, Tally]) -> None:
    """Print by how much rates are exceeded on both parts, and the tables of the second."""
    print("Asked rate exceeded by a factor of (mean over heard, rare, unheard, all rates), first part | second part:")
    for name, leave in WAYS:
        found = [f"{tallies[part].exceeded(f'{name}, {leave}'):.2f}" for part in PARTS]
        print(f"  {name}, {leave}: {' | '.join(found)}")
    for of, kinds in KINDS.items():
        print(f"\n{table(tallies['report'], of, kinds.split())}", flush=True)


def main() -> None:
    """Call every trial in every way, print the choice and the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_recordings(parser, "--toycar", "dcase2023_toycar_half")
    parser.add_argument("--motors", type=Path)
    parser.add_argument("--synth", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--encoder", nargs="+", default=["logmel_stats", "soundnet"])
    parser.add_argument("--small", action="store_true", help="measure the small default alone")
    parser.add_argument("--figure", type=Path)
    args = parser.parse_args()
    if args.small and args.figure:
        parser.error("--figure is of the eight settings, without --small")
    if not args.toycar.is_dir():
        sys.exit(f"no recordings in {args.toycar}")
    tallies, small = {part: Tally() for part in PARTS}, Tally()
    for name in [SMALL_ENCODER] if args.small else args.encoder:
        for part, trial in trials(args, load_encoder(name)):
            for backend in () if args.small else BACKENDS:
                tallies[part].add(trial.of, name, backend, call(trial, backend))
            if name == SMALL_ENCODER and part == "report":
                small.add(trial.of, name, SMALL_BACKEND, call(trial, SMALL_BACKEND))
    if not args.small:
        show_all(tallies)
    for of, kinds in KINDS.items():
        print(
            f"\nThe small default ({SMALL_ENCODER}, {SMALL_BACKEND}):\n\n{table(small, of, kinds.split())}", flush=True
        )
    if args.figure:
        figure(tallies["report"], args.figure)


if __name__ == "__main__":
    main()

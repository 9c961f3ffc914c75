"""Frozen against fine-tuned: official score of the same poolings and back-ends, over seeds. Prints a table.

  python benchmarks/finetuning.py --weights beats.pt --root toycar=DIR --root synthetic=DIR --out results/finetuning

Each (data set, seed) is one run below --out. A run that is there is not run again, and one that was interrupted goes
on, so that the script may be stopped and started at will.
The rival is the same encoder without the adapter, on the same clips.
"""

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np

from echobank.config import Config, load_config
from echobank.evaluation.metrics import evaluate, official_parts
from echobank.evaluation.submission import read_scores
from echobank.evaluation.truth import load_truth
from echobank.pipeline.finetune import finetune_run, with_adapter
from echobank.pipeline.infer import infer
from echobank.pipeline.run import Run
from echobank.pipeline.train import train
from echobank.storage import write_json
from echobank.training.fine_tuning import Finetuned

POOLINGS = {"mean": {}, "gem": {"p": 3}}
BACKENDS = {"knn": {}, "ldn": {"K": 16}}


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True, help="a BEATs card or checkpoint")
    parser.add_argument("--root", action="append", required=True, metavar="NAME=DIR")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="settings of all runs")
    args = parser.parse_args()
    roots = [item.partition("=")[::2] for item in args.root]
    for name, root in roots:
        for seed in args.seeds:
            learn(name, root, seed, args)
    for name, root in roots:
        for seed in args.seeds:
            path = args.out / f"{name}_{seed}.json"
            if not path.exists():
                write_json(path, measure(name, root, seed, args))
        print_table(name, [json.loads((args.out / f"{name}_{seed}.json").read_text()) for seed in args.seeds])


def configured(name: str, root: str, seed: int, args: argparse.Namespace) -> Config:
    """Return the settings of a run."""
    common = [
        f"model.embedding={args.weights}",
        f"data.root={root}",
        f"data.cache={args.out / 'cache'}",
        "model.k=1",
        f"seed={seed}",
        *args.set,
    ]
    return load_config(None, [*common, f"output.dir={args.out / f'{name}_{seed}'}"])


def learn(name: str, root: str, seed: int, args: argparse.Namespace) -> Finetuned:
    """Fine-tune; a run that was finished comes back at once."""
    return finetune_run(Run(configured(name, root, seed, args)))


def measure(name: str, root: str, seed: int, args: argparse.Namespace) -> dict[str, object]:
    """Score with and without the adapter, return every figure."""
    config = configured(name, root, seed, args)
    folder = Path(config.output.dir)
    result = learn(name, root, seed, args)
    tuned = with_adapter(Run(config), result).config
    return {
        "seconds": result.journal.seconds,
        "labels": len(result.task.labels),
        "learned": len(result.task.learned),
        "steps": result.journal.step,
        "best": result.journal.best,
        "validations": result.journal.validations,
        "frozen": scores(config, folder / "frozen"),
        "tuned": scores(tuned, folder / "tuned"),
    }


def scores(config: Config, folder: Path) -> dict[str, dict[str, object]]:
    """Return the official score of each pooling and back-end."""
    found: dict[str, dict[str, object]] = {}
    for pooling, pooling_params in POOLINGS.items():
        for backend, params in BACKENDS.items():
            key = f"{pooling} {backend}"
            run = Run(
                dataclasses.replace(
                    config,
                    model=dataclasses.replace(config.model, pooling=pooling, pooling_params=pooling_params),
                    scoring=dataclasses.replace(config.scoring, backend=backend, params=params),
                    output=dataclasses.replace(config.output, dir=str(folder / key.replace(" ", "_"))),
                )
            )
            train(run)
            infer(run)
            table = read_scores(run.output)
            evaluation = evaluate(table, None, load_truth(table))
            parts = official_parts(evaluation.machines).mean(axis=0)
            found[key] = {"official": evaluation.official_score, "means": parts.tolist()}
    return found


def print_table(name: str, runs: list[dict]) -> None:
    """Print mean and spread over the seeds, percent."""
    print(f"\n{name}: {runs[0]['labels']} labels, {runs[0]['learned']} clips learned from, {len(runs)} seeds")
    print(f"steps {[run['steps'] for run in runs]}, best after {[run['best'] for run in runs]}")
    print(f"{'pooling and back-end':<22} {'frozen':>7} {'fine-tuned':>14} {'difference':>16}")
    for key in runs[0]["frozen"]:
        frozen = 100 * np.array([run["frozen"][key]["official"] for run in runs])
        tuned = 100 * np.array([run["tuned"][key]["official"] for run in runs])
        change = tuned - frozen
        print(
            f"{key:<22} {frozen.mean():7.1f} {tuned.mean():7.1f} ± {spread(tuned):4.1f}"
            f" {change.mean():+9.1f} ± {spread(change):4.1f}"
        )


def spread(values: np.ndarray) -> float:
    """Return the sample standard deviation, NaN of a single value: one run has no spread."""
    return float(values.std(ddof=1)) if len(values) > 1 else float("nan")


if __name__ == "__main__":
    main()

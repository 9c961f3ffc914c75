"""Fine-tune the encoder on normal clips (an adapter of a few MB), or take a handful of new clips into a bank.

echobank finetune --config configs/default.yaml
all machines together; writes <output.dir>/finetune/adapter.safetensors, the setting weights.adapter of every stage
echobank finetune --config configs/default.yaml --machine pump --clips new/
the bank of one machine takes in the clips of a new operating state, in the way that does best on normals
echobank finetune --merge results/finetune/adapter.safetensors --out beats_tuned.pt
base and adapter as one checkpoint of the official format
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from echobank.cli.options import add_config, read_config, report_skipped
from echobank.cli.outputs import CHECKPOINT, check_output
from echobank.cli.progress import bar
from echobank.errors import InputError
from echobank.models.torch_extra import require_torch
from echobank.pipeline.run import Run

if TYPE_CHECKING:
    from echobank.training.fine_tuning import Finetuned


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `echobank finetune`."""
    add_config(parser)
    parser.add_argument("--clips", metavar="DIR", help="a handful of normal clips of a new operating state")
    parser.add_argument("--machine", metavar="NAME", help="machine to whose bank they are added")
    parser.add_argument("--section", metavar="NN", default="00", help="its section (00)")
    parser.add_argument("--no-lora", action="store_true", help="leave the short fine-tuning out of the comparison")
    parser.add_argument("--merge", metavar="ADAPTER", help="write base and adapter as one checkpoint")
    parser.add_argument("--out", metavar="FILE", help="the checkpoint that --merge writes")


def run(args: argparse.Namespace) -> int:
    """Fine-tune, adapt or merge, and say what came out."""
    if bool(args.clips) != bool(args.machine) or bool(args.merge) != bool(args.out):
        raise InputError("--clips goes with --machine, and --merge with --out", hint="see echobank finetune --help")
    config = read_config(args)
    if args.clips:
        return _adapt(args, Run(config, bar))
    if args.merge:
        check_output(args.out, CHECKPOINT, "--out", [args.merge, config.weights.path])
    require_torch("fine-tuning")
    from echobank.pipeline.finetune import finetune_run, merge_files

    if args.merge:
        print(f"wrote {merge_files(config, Path(args.merge), Path(args.out))}")
        return 0
    return _report(finetune_run(Run(config, bar)))


def _report(result: "Finetuned") -> int:
    from echobank.training.curves import can_draw

    task, journal = result.task, result.journal
    print(f"{len(task.labels)} labels, {len(task.learned)} clips learned from, {len(task.held)} held out")
    values = dict(journal.validations)
    if journal.best is not None:
        print(f"validation {values[0]:.4f} frozen, {values[journal.best]:.4f} best, after {journal.best} steps")
        if journal.best == 0:
            print("  no step was better than the frozen encoder: the adapter changes nothing")
    if journal.stopped:
        print(f"stopped after {journal.step} steps: {journal.stopped}")
    for path in (result.path, *result.files):
        print(f"wrote {path}")
    if not can_draw():
        print("no curves were drawn: they need matplotlib, pip install 'echobank[report]'")
    return report_skipped(task.material.skipped)


def _adapt(args: argparse.Namespace, stage: Run) -> int:
    from echobank.pipeline.adapt import adapt

    result = adapt(stage, args.machine, args.section, Path(args.clips), lora=not args.no_lora)
    print(f"{'way':<22} {'known':>6} {'new':>6} {'mean':>6}  false alarms on new clips")
    for outcome in result.outcomes:
        numbers = f"{100 * outcome.auc_known:6.1f} {100 * outcome.auc_new:6.1f} {100 * outcome.value:6.1f}"
        told = f"  not judged: {outcome.problem}" if outcome.problem else f"{numbers}  {outcome.false_alarms:.0%}"
        print(f"{outcome.way.name:<22} {told}")
    print(f"kept {result.why}")
    if result.settings:
        print(f"score with --set {' --set '.join(result.settings)}")
    print(f"wrote {result.path}")
    for notice in result.notices:
        print(notice, file=sys.stderr)
    return report_skipped(result.skipped)

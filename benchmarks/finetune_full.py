"""Fine-tuning at full size: memory and seconds a step, an interrupted run against one that was not, merged tokens.

  python benchmarks/finetune_full.py resume merge --root DIR --out results/finetune_full
  python benchmarks/finetune_full.py costs --root DIR --out results/finetune_full

`--root` is a DCASE folder; a few of its clips, spread evenly, are linked below `--out`. Without `--weights` the encoder
is BEATs base with random weights. Every run is the command `echobank finetune` in a process of its own; one that is
there is not run again. `resume` stops the second run by SIGINT and its resumption by SIGKILL, in the middle of a step.
"""

import argparse
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from recordings import add_recordings
from safetensors import SafetensorError, safe_open

from echobank.data.audio import read_clip
from echobank.data.dcase import scan
from echobank.models.beats.adapter import load_adapter, save_adapter, write_merged
from echobank.models.beats.checkpoint import BeatsConfig, read_checkpoint
from echobank.models.registry import load_encoder
from echobank.storage import write_json
from echobank.training.lora import LoraEncoder
from echobank.training.student import Student, write_student

CHECKPOINT_EVERY = 3
KILLS = ((6, signal.SIGINT), (12, signal.SIGKILL))  # a little after the checkpoint of this step
MERGED_CLIPS = 8
VARIANTS = {
    "float32": [],
    "float32, checkpointing": ["finetune.gradient_checkpointing=true"],
    "bfloat16": ["finetune.precision=bf16"],
    "bfloat16, checkpointing": ["finetune.precision=bf16", "finetune.gradient_checkpointing=true"],
}


def main() -> None:
    """Run the parts that are asked for."""
    parts: dict[str, Callable[[argparse.Namespace], None]] = {"resume": resume, "merge": merged, "costs": costs}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=parts, help="merge needs the runs of resume")
    add_recordings(parser, "--root", "dcase2023_toycar_half")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--weights", type=Path, help="a BEATs checkpoint instead of random weights")
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--steps", type=int, default=20, help="of the runs of resume; those of costs have 3")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="settings of all runs")
    args = parser.parse_args()
    if args.weights is None:
        args.weights = args.out / "base.pt"
        if not args.weights.exists():
            args.out.mkdir(parents=True, exist_ok=True)
            write_student(Student(BeatsConfig(), 0), args.weights)
    link(args.root, args.out / "root", args.clips)
    for part in args.parts:
        parts[part](args)


def link(root: Path, few: Path, clips: int) -> None:
    """Make a DCASE folder of a few training clips, spread evenly over those of another."""
    train = [recording.path for recording in scan(root).recordings if recording.split == "train"]
    for number in np.linspace(0, len(train) - 1, clips).round().astype(int):
        path = few / train[number].relative_to(root)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.symlink_to(train[number].resolve())


def resume(args: argparse.Namespace) -> None:
    """Compare the losses of an uninterrupted run with those of one that was killed twice."""
    whole, broken = (learn(args, name, args.steps, [], kills) for name, kills in (("whole", ()), ("broken", KILLS)))
    losses, others = (np.array(run["losses"]) for run in (whole, broken))
    print(f"uninterrupted: {len(losses)} steps, {told(whole)}")
    print(f"interrupted: {len(others)} steps, exit codes {broken['codes']}, {told(broken)}")
    print(f"losses {losses[0]:.3f} to {losses[-1]:.3f}, largest difference {np.abs(losses - others).max():.1e}")


def costs(args: argparse.Namespace) -> None:
    """Print memory and seconds a step of each variant."""
    for name, more in VARIANTS.items():
        folder = name.replace(", ", "_")
        print(f"{name}: {told(learn(args, folder, 3, more, ()))}", flush=True)


def merged(args: argparse.Namespace) -> None:
    """Compare tokens of the uninterrupted run's last state, run unmerged, with those of the merged checkpoint."""
    folder = args.out / "whole" / "finetune"
    kept = load_adapter(folder / "adapter.safetensors")
    lora = LoraEncoder(read_checkpoint(args.weights), kept.card.rank, kept.card.alpha).eval()
    with safe_open(folder / "checkpoint.safetensors", framework="pt") as stream, torch.no_grad():
        for name, parameter in lora.named_parameters():
            if parameter.requires_grad:
                parameter.copy_(stream.get_tensor(f"model.encoder.{name}"))
    card = dataclasses.replace(kept.card, steps=args.steps)
    save_adapter(dataclasses.replace(kept, card=card, tensors=lora.tensors()), args.out / "last.safetensors")
    write_merged(args.weights, args.out / "last.safetensors", args.out / "merged.pt")
    frozen, tuned = load_encoder(args.weights), load_encoder(args.out / "merged.pt")
    changed, apart = [], []
    for recording in scan(args.out / "root").recordings[:MERGED_CLIPS]:
        samples = read_clip(recording.path, sample_rate=frozen.facts.sample_rate).samples
        with torch.no_grad():
            unmerged = lora(torch.from_numpy(frozen.logmel(samples))[None])[0].numpy()
        both = tuned.tokens([samples])[0].reshape(unmerged.shape)
        changed.append(np.abs(both - unmerged).max())
        apart.append(np.abs(frozen.tokens([samples])[0].reshape(unmerged.shape) - unmerged).max())
    print(f"merged and unmerged tokens of {len(changed)} clips differ by at most {max(changed):.1e},")
    print(f"frozen and fine-tuned ones by {max(apart):.2g}")


def learn(
    args: argparse.Namespace, name: str, steps: int, more: list[str], kills: tuple[tuple[int, signal.Signals], ...]
) -> dict:
    """Run `echobank finetune`, kill it as asked, run it to its end; return losses, memory and exit codes."""
    report, folder = args.out / f"{name}.json", args.out / name
    if report.exists():
        return dict(json.loads(report.read_text()))
    settings = [
        *(f"model.embedding={args.weights}", f"data.root={args.out / 'root'}", f"data.cache={args.out / 'cache'}"),
        *(f"output.dir={folder}", f"finetune.steps={steps}", "finetune.patience=0"),
        *(f"finetune.checkpoint_every={CHECKPOINT_EVERY}", *more, *args.set),
    ]
    command = [sys.executable, "-m", "echobank", "finetune", *(word for key in settings for word in ("--set", key))]
    peaks, codes = [], []
    for kill in (*kills, None):
        process = subprocess.Popen(command, preexec_fn=_interruptible)
        if kill:
            _kill(process, folder / "finetune" / "checkpoint.safetensors", *kill)
        _, status, usage = os.wait4(process.pid, 0)
        peaks.append(usage.ru_maxrss / 1e6)
        codes.append(os.waitstatus_to_exitcode(status))
    if codes[-1]:
        raise SystemExit(f"{name} failed: exit codes {codes}")
    journal = json.loads((folder / "finetune" / "journal.json").read_text())
    write_json(report, {"losses": journal["losses"], "seconds": journal["seconds"], "peaks": peaks, "codes": codes})
    return dict(json.loads(report.read_text()))


def _interruptible() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background processes ignore it


def _kill(process: subprocess.Popen, checkpoint: Path, step: int, how: signal.Signals) -> None:
    """Kill a run once its checkpoint holds that many steps and the next step is under way."""
    while process.poll() is None:
        if _steps(checkpoint) >= step:
            time.sleep(2.0)
            process.send_signal(how)
            return
        time.sleep(0.2)
    raise SystemExit("the run ended before it could be interrupted")


def _steps(checkpoint: Path) -> int:
    try:
        with safe_open(checkpoint, framework="pt") as stream:
            return len(json.loads(stream.metadata()["echobank-training"])["journal"]["losses"])
    except (OSError, SafetensorError):
        return 0


def told(run: dict) -> str:
    """Return seconds a step and the largest peak of memory of its processes."""
    return f"{run['seconds'] / len(run['losses']):.1f} s per step, {max(run['peaks']):.2f} GB at most"


if __name__ == "__main__":
    main()

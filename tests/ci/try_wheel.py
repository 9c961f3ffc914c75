"""Tries an installed echobank in an empty folder, as a user without a checkout does.

    python -m venv V && V/bin/pip install 'echobank[report]' && cd EMPTY && V/bin/python try_wheel.py docs/tutorial.md

Runs every step of the tutorial, then the main job on synthetic machines by its commands. Needs no network: without the
weights of an encoder the tutorial hears with log-mel statistics, which needs none.
"""

import argparse
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

FILES = ("today.csv", "today.html", "events.csv", "results/evaluation.csv", "results/report.html")
SMALL = "--train-source 12 --train-target 3 --test 4 --supplemental 2 --seconds 2 --workers 1"
JOB = f"""
echobank --version
echobank synth --out data {SMALL}
echobank preprocess --config default --dcase_root data --set model.embedding=logmel_stats
echobank train --config default --set model.embedding=logmel_stats
echobank infer --config default --set model.embedding=logmel_stats
echobank evaluate --results results
echobank report --results results
"""


def main() -> None:
    """Run the tutorial, then the main job; the first step that goes wrong ends it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tutorial", type=Path, help="docs/tutorial.md")
    tutorial = parser.parse_args().tutorial.read_text("utf-8")
    if any(Path.cwd().iterdir()):
        raise SystemExit(f"{Path.cwd()} is not empty")
    os.environ |= {"ECHOBANK_CACHE": str(Path.cwd() / "no-weights"), "PIP_NO_INDEX": "1"}
    import echobank

    if "site-packages" not in Path(echobank.__file__).parts:
        raise SystemExit(f"{echobank.__file__} is not an installed wheel")
    names: dict[str, object] = {}
    for kind, text in re.findall(r"```(python|sh)\n(.*?)```", tutorial, re.DOTALL):
        if kind == "python":
            exec(compile(text, "tutorial", "exec"), names)
        else:
            run(text)
    run(JOB)
    if missing := [name for name in FILES if not Path(name).is_file()]:
        raise SystemExit(f"not written: {', '.join(missing)}")


def run(lines: str) -> None:
    """Run commands of the installed `echobank`; a line may end in `  # exit code N`."""
    program = Path(sys.executable).with_name("echobank")
    for line in filter(None, lines.splitlines()):
        command, _, code = line.partition("  # exit code ")
        started = time.monotonic()
        done = subprocess.run([program, *shlex.split(command)[1:]], capture_output=True, text=True)
        print(f"{time.monotonic() - started:6.1f} s  {line}", flush=True)
        if done.returncode != int(code or 0):
            raise SystemExit(f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}")


if __name__ == "__main__":
    main()

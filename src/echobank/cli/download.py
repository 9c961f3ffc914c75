"""Fetch a DCASE Challenge Task 2 data set (2020 to 2026): resumes, checks every file, unpacks.

Example: echobank download dcase2025 --split dev --root data/dcase2025
"""

import argparse
from pathlib import Path

from echobank.cli.progress import bar
from echobank.data.download import download
from echobank.errors import EXIT_OK


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `echobank download`."""
    parser.add_argument("edition", help="dcase2020 to dcase2026")
    parser.add_argument(
        "--split", choices=("dev", "eval"), default="dev", help="development, or additional training and evaluation"
    )
    parser.add_argument("--root", metavar="DIR", type=Path, help="where the tree begins (default data/<edition>)")
    parser.add_argument("--machine", metavar="NAME", action="append", default=[], help="only this one; may be repeated")


def run(args: argparse.Namespace) -> int:
    """Fetch and say where the machines are."""
    root = args.root or Path("data") / args.edition
    for folder in download(args.edition, args.split, root, args.machine, bar):
        print(f"wrote {folder}")
    print("licence of the recordings: CC BY-NC-SA 4.0")
    return EXIT_OK

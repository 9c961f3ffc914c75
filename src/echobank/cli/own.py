"""Options and sentences that the commands for own machines share.

These commands import what they need when they run, so that help and usage errors do not wait for torch.
"""

import argparse
import dataclasses
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from echobank.errors import InputError
from echobank.machines.tags import Tagging, parse_tags, read_tags
from echobank.names import printable

if TYPE_CHECKING:
    from echobank.machines.machine import Machine

_LENGTH = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|h)?")
_UNITS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, None: 1.0}


def add_bank(parser: argparse.ArgumentParser) -> None:
    """Add the bank and how its encoder runs."""
    parser.add_argument("bank", metavar="BANK", help="folder or file of the bank, for example banks/pump7")
    add_engine(parser)


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Add `--device` and `--weights`."""
    parser.add_argument("--device", metavar="NAME", default="auto", help="auto, cpu, cuda, ... (default: auto)")
    parser.add_argument("--weights", metavar="FILE", help="weights of the bank's encoder, where they are not cached")


def open_bank(args: argparse.Namespace) -> "Machine":
    """Return the machine of `add_bank`, at the rate of `--far` where that is given."""
    from echobank.machines.machine import open_machine

    machine = open_machine(args.bank, device=args.device, weights=args.weights)
    for notice in machine.notices:
        print(notice, file=sys.stderr)
    if getattr(args, "without_level", False):
        from echobank.machines.level_off import deaf_to_level

        machine = deaf_to_level(machine)
    far = getattr(args, "far", None)
    return machine if far is None else machine.at_rate(far)


def add_far(parser: argparse.ArgumentParser) -> None:
    """Add `--far`."""
    parser.add_argument("--far", type=rate, metavar="RATE", help="false-alarm rate, for example 0.05 or 5%%")


def add_trend(parser: argparse.ArgumentParser) -> None:
    """Add `--trend`."""
    parser.add_argument(
        "--trend",
        metavar="DIR",
        help="keep a thinned history for `echobank checkup`, which looks in banks/NAME/trend (needs pyarrow)",
    )


def with_facts(machine: "Machine", wanted: object) -> "Machine":
    """Return a machine whose listener takes the facts of the sound besides, where a trend is wanted."""
    if not wanted:
        return machine
    return dataclasses.replace(machine, listener=dataclasses.replace(machine.listener, facts=True))


def add_without_level(parser: argparse.ArgumentParser) -> None:
    """Add `--without-level`."""
    parser.add_argument(
        "--without-level",
        action="store_true",
        help="leave level out of the score where the bank hears it: the gain or the distance has changed",
    )


def add_tags(parser: argparse.ArgumentParser) -> None:
    """Add `--tags`."""
    parser.add_argument(
        "--tags",
        action="append",
        default=[],
        metavar="TAGS",
        help="operating state: name=value,... for all recordings, a CSV with a column `file` and one per tag, "
        "`folders` for the names of sub-folders (the default), or `none`; may be given several times",
    )


def tagging(texts: Sequence[str]) -> Tagging:
    """Return the tagging of `--tags`.

    Raises:
        InputError: A text is none of the forms, or two disagree.
    """
    tables = [text for text in texts if text.lower().endswith(".csv")]
    words = {"folders", "none"} & set(texts)
    if len(tables) > 1 or len(words) > 1:
        raise InputError("give one table of tags, or one of folders and none", value=list(texts))
    every = parse_tags([text for text in texts if text not in tables and text not in words])
    return Tagging(every, read_tags(tables[0]) if tables else None, "none" not in words)


def seconds(text: str) -> float:
    """Return a length such as 10, 10s, 500ms, 1min or 1h in seconds."""
    match = _LENGTH.fullmatch(text.strip())
    if not match or float(match[1]) == 0:
        raise argparse.ArgumentTypeError(f"not a length of time: {text!r}; write 10s or 500ms")
    return float(match[1]) * _UNITS[match[2]]


def seconds_from_zero(text: str) -> float:
    """Return a time in seconds as `seconds` does, or 0."""
    return 0.0 if text.strip() in ("0", "0s") else seconds(text)


def size(text: str) -> int:
    """Return a number of bytes such as 500M or 2G; a unit is a power of 1024."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kKMGT]?)i?B?", text.strip())
    if not match:
        raise argparse.ArgumentTypeError(f"not a size: {text!r}; write 500M or 2G")
    return round(float(match[1]) * float(1024 ** " KMGT".index(match[2].upper() or " ")))


def rate(text: str) -> float:
    """Return a rate such as 0.05 or 5% between 0 and 1."""
    try:
        value = float(text.rstrip("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"not a rate between 0 and 1: {text!r}; write 0.05 or 5%")
    return value


def machine_name(text: str) -> str:
    """Return the name of a machine: it becomes the name of a folder."""
    if not text.strip() or text in (".", "..") or any(sign in text for sign in '/\\:*?"<>|\0') or text[0] == "-":
        raise argparse.ArgumentTypeError(f"not a name that a folder can have: {text!r}")
    if text != printable(text):
        raise argparse.ArgumentTypeError(f"not a name in UTF-8: {printable(text)}")
    return text

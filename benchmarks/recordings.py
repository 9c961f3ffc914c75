"""Where tests and benchmarks find real recordings; docs/recordings.md says which public set each folder is.

No recording is part of this repository. Set ECHOBANK_RECORDINGS to the folder that holds them.
"""

import argparse
import os
from pathlib import Path

SETS = ("ambience_32k", "bldc_motors", "dcase2020_slider", "dcase2023_mini7", "dcase2023_toycar_half")


def recordings(name: str) -> Path | None:
    """Return the folder of one of SETS, None where it is not on this machine.

    The folder lies in ECHOBANK_RECORDINGS where that is set, in `shared/data` beside the checkout otherwise.
    """
    if name not in SETS:
        raise ValueError(f"no set {name!r} of real recordings; the sets are {', '.join(SETS)}")
    folder = recordings_root() / name
    return folder if folder.is_dir() else None


def recordings_root() -> Path:
    """Return the folder that holds the sets, whether it exists or not."""
    given = os.environ.get("ECHOBANK_RECORDINGS")
    return Path(given) if given else Path(__file__).parents[2] / "shared" / "data"


def add_recordings(parser: argparse.ArgumentParser, option: str, name: str) -> None:
    """Add an option for a folder of recordings; it may be left out where the set of that name is on this machine."""
    found = recordings(name)
    text = f"default: {name} below ECHOBANK_RECORDINGS (docs/recordings.md)"
    parser.add_argument(option, type=Path, default=found, required=found is None, metavar="DIR", help=text)

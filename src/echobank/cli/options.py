"""Options that several subcommands share, and what they say about skipped recordings."""

import argparse
import sys
from collections.abc import Sequence

from echobank.cli.progress import bar
from echobank.config import Config, load_config, packaged_configs
from echobank.errors import EXIT_OK, EXIT_SKIPPED
from echobank.models.default import settle_encoder
from echobank.models.feeding import Skipped


def add_config(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    """Add `--config`, `--set` and `--weights`."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        required=required,
        help=f"settings: a YAML file, or one of {', '.join(packaged_configs())}",
    )
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="override one setting, for example --set model.k=1; may be given several times",
    )
    parser.add_argument("--weights", metavar="FILE", help="encoder weights (the same as --set weights.path=FILE)")


def read_config(args: argparse.Namespace, extra: Sequence[str] = ()) -> Config:
    """Return the settings of the options that `add_config` added."""
    overrides = [*args.set, *extra]
    if args.weights:
        overrides.append(f"weights.path={args.weights!r}")
    return settled(load_config(args.config, overrides))


def settled(config: Config) -> Config:
    """Return the settings with the encoder `auto` chosen, and say on stderr which it is and why."""
    config, why = settle_encoder(config, bar)
    if why:
        print(why, file=sys.stderr)
    return config


def report_skipped(skipped: Sequence[Skipped]) -> int:
    """Name every recording that was left out, on stderr, and return the exit code that says so."""
    for item in skipped:
        print(f"skipped: {item.reason}", file=sys.stderr)
    if skipped:
        print(f"{len(skipped)} skipped", file=sys.stderr)
    return EXIT_SKIPPED if skipped else EXIT_OK

# PYTHON_ARGCOMPLETE_OK
"""The console command `echobank`: finds the subcommand, runs it, turns errors into one line and an exit code.

Each subcommand is a module of this package with `add_arguments(parser)` and `run(args) -> int`; only the one
that was asked for is imported.
"""

import argparse
import io
import os
import sys
import traceback
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module

from echobank.cli.commands import COMMANDS, overview
from echobank.errors import EXIT_BAD_INPUT, EXIT_BUG, EXIT_INTERRUPTED, EchobankError
from echobank.models.beats.allocator import keep_memory
from echobank.version import __version__

__all__ = ["COMMANDS", "main"]

_EPILOG = """\
exit codes: 0 done, 1 anomalies found (score), 2 bad input, 3 something was skipped, 70 a bug, 130 interrupted"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit code; errors are one line on stderr, a bug is a traceback."""
    if "_ARGCOMPLETE" in os.environ:
        from echobank.cli.completion import complete

        complete()
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = arguments[0] if arguments else ""
    if command not in COMMANDS:
        return _without_command(command)
    _write_every_name()
    try:
        keep_memory()
        module = import_module(f"echobank.cli.{command}")
        parser = argparse.ArgumentParser(
            prog=f"echobank {command}",
            description=module.__doc__,
            epilog=_EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(parser)
        return int(module.run(parser.parse_args(arguments[1:])))
    except EchobankError as error:
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail("interrupted; run the same command again to continue", EXIT_INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BAD_INPUT
    except Exception as error:
        traceback.print_exc()
        where = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return _fail(f"a bug in echobank: {where}; please report it with the lines above", EXIT_BUG)


def _write_every_name() -> None:
    """Let standard output take names of files that its encoding cannot hold, as standard error does by itself."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _without_command(word: str) -> int:
    if word == "--version":
        print(f"echobank {__version__}")
        return 0
    if word in ("", "-h", "--help"):
        print(f"usage: echobank <command> [options]\n\n{overview()}")
        print(f"\n`echobank <command> --help` lists the options, `echobank --version` prints the version.\n{_EPILOG}")
        return 0 if word else EXIT_BAD_INPUT
    near = get_close_matches(word, COMMANDS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"the commands are {', '.join(COMMANDS)}"
    return _fail(f"unknown command: {word!r}; {hint}", EXIT_BAD_INPUT)


def _fail(message: str, code: int) -> int:
    print(f"echobank: {message}", file=sys.stderr)
    return code

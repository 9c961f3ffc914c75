"""Completion in the shell, by argcomplete: `eval "$(register-python-argcomplete echobank)"` switches it on."""

import argparse
import os
from importlib import import_module

from echobank.cli.commands import COMMANDS


def complete() -> None:
    """Answer a question of the shell and end the process; return where there is none or argcomplete is missing.

    Only the module of the command on the line is imported, so that an answer takes no longer than its help.
    """
    try:
        import argcomplete
    except ImportError:
        return
    words = os.environ.get("COMP_LINE", "").split()
    argcomplete.autocomplete(_parser(words[1] if len(words) > 1 else ""))


def _parser(word: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="echobank")
    parser.add_argument("--version", action="store_true")
    commands = parser.add_subparsers()
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text)
        if name == word:
            import_module(f"echobank.cli.{name}").add_arguments(command)
    return parser

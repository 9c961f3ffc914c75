"""The reference pages that are made from the code while the site is built, so that they cannot go stale.

Commands come from their parsers, settings from the dataclasses and from the comments of `configs/default.yaml`.
"""

import argparse
import dataclasses
import re
from importlib import import_module
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from echobank.cli.commands import GROUPS
from echobank.settings import Config

DEFAULTS = Path(__file__).parents[1] / "src" / "echobank" / "configs" / "default.yaml"


def commands_page() -> str:
    """Return the page of all commands, their actions and options."""
    parts = [
        "# Command line\n\n`echobank COMMAND --help` prints the same. Exit codes: 0 done, 1 anomalies found (`score`), "
        "2 bad input, 3 something was skipped, 70 a bug, 130 interrupted.\n"
    ]
    for title, commands in GROUPS.items():
        parts.append(f"## {title[0].upper()}{title[1:]}\n")
        for name in commands:
            module = import_module(f"echobank.cli.{name}")
            parser = argparse.ArgumentParser(prog=f"echobank {name}")
            module.add_arguments(parser)
            summary, _, rest = (module.__doc__ or "").strip().partition("\n")
            parts.append(f"### echobank {name}\n\n{_escaped(summary)}\n")
            if rest.strip():
                parts.append(f"```text\n{rest.strip(chr(10)).rstrip()}\n```\n")
            parts.append(_options(parser))
            parts += [
                f"#### echobank {name} {action}\n\n{_escaped(below.description or '')}\n\n{_options(below)}"
                for action, below in _actions(parser)
            ]
    return "\n".join(part for part in parts if part)


def settings_page() -> str:
    """Return the page of every setting: section by section its default, type and meaning."""
    meaning = _comments(DEFAULTS.read_text("utf-8"))
    parts = [
        "# Settings\n\nA YAML file given by `--config` may hold any part of them; "
        "`--set section.key=value` overrides one.\n"
    ]
    for section in dataclasses.fields(Config):
        value = getattr(Config(), section.name)
        if not dataclasses.is_dataclass(value):
            parts.append(f"## {section.name}\n\nDefault `{value}`. {meaning.get(section.name, '')}\n")
            continue
        rows = [
            f"| `{section.name}.{field.name}` | `{_yaml(getattr(value, field.name))}` | "
            f"{_escaped(meaning[f'{section.name}.{field.name}'])} |"
            for field in dataclasses.fields(value)
        ]
        head = f"## {section.name}\n\n{type(value).__doc__}\n\n| setting | default | meaning |\n|---|---|---|\n"
        parts.append(head + "\n".join(rows) + "\n")
    return "\n".join(parts)


def _comments(text: str) -> dict[str, str]:
    """Return the comment behind each key of a YAML file of two levels."""
    found, section = {}, ""
    for line in text.splitlines():
        if match := re.match(r"^( *)(\w+):[^#]*(?:# *(.*))?$", line):
            indent, key, comment = match[1], match[2], match[3] or ""
            section = key if not indent else section
            found[f"{section}.{key}" if indent else key] = comment
    return found


def _yaml(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(f"{item:g}" if isinstance(item, float) else str(item) for item in value) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def _actions(parser: argparse.ArgumentParser) -> list[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return list(action.choices.items())
    return []


def _options(parser: argparse.ArgumentParser) -> str:
    rows = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction | argparse._HelpAction) or action.help == argparse.SUPPRESS:
            continue
        value = "" if action.nargs == 0 else f" {_metavar(action)}"
        name = f"{', '.join(action.option_strings)}{value}" if action.option_strings else _metavar(action)
        needed = " **needed**" if action.required and action.option_strings else ""
        rows.append(
            f"| `{name.replace('|', chr(92) + '|')}` | {_escaped((action.help or '').replace('%%', '%'))}{needed} |"
        )
    return "| option | meaning |\n|---|---|\n" + "\n".join(rows) + "\n" if rows else ""


def _metavar(action: argparse.Action) -> str:
    if isinstance(action.metavar, tuple):
        return " ".join(action.metavar)
    if action.metavar:
        return action.metavar + (" ..." if action.nargs in ("+", "*") else "")
    if action.choices:
        return "{" + ",".join(map(str, action.choices)) + "}"
    return action.dest.upper()


def _escaped(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages to the site; mkdocs calls this while it builds."""
    for name, text in {"commands.md": commands_page(), "settings.md": settings_page()}.items():
        files.append(File.generated(config, f"reference/{name}", content=text))
    return files

"""Declared sources: what the service listens to and watches by itself, written down in `serve.yaml` of its folder."""

import math
import re
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from echobank.errors import ConfigError
from echobank.storage import atomic_path
from echobank.watch.feeds.network import SCHEMES
from echobank.watch.rest import parse_schedule

FILE = "serve.yaml"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_KINDS = ("listen", "watch")
_HEADER = (
    "# Sources of `echobank serve`. A change in the page or through the API writes this file again, without comments.\n"
)


@dataclass(frozen=True)
class DeclaredSource:
    """A source of a machine.

    Attributes:
        name: Its name; windows of a stream are named after it.
        machine: The machine.
        listen: Address of a stream: mic, mic:NAME, rtsp://..., http://...; empty for a folder.
        watch: Folder in which recordings land; empty for a stream.
        rate: Rate of a microphone, Hz; 0 takes its own.
        channels: Its number of channels; 0 is one.
        settle: Seconds that a file must stay the same.
        only_new: Whether what lies in a folder at the first start is left out.
        silence_after: Seconds without sound that open an event; 0 never does.
        schedule: When it alarms; empty is always.
    """

    name: str
    machine: str
    listen: str = ""
    watch: str = ""
    rate: int = 0
    channels: int = 0
    settle: float = 2.0
    only_new: bool = False
    silence_after: float = 0.0
    schedule: str = ""

    @property
    def kind(self) -> str:
        """`listen` or `watch`."""
        return "listen" if self.listen else "watch"

    @property
    def place(self) -> str:
        """Where the sound comes from, without user, password or query of an address."""
        parts = urlsplit(self.listen)
        if not self.listen or not parts.hostname:
            return self.listen or self.watch
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{parts.path}"

    def to_values(self) -> dict[str, Any]:
        """Return the source as `serve.yaml` has it under its name; what is as usual is left out."""
        usual = {it.name: it.default for it in fields(self)}
        return {key: value for key, value in asdict(self).items() if key != "name" and value != usual[key]}


def declare(name: object, values: object, where: Path | str) -> DeclaredSource:
    """Return the source that somebody wrote down.

    Args:
        name: Its name.
        values: The other attributes of `DeclaredSource`.
        where: Where it is written, for messages.

    Raises:
        ConfigError: A key is unknown or missing, or a value is impossible.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        hint = "take up to 64 letters, digits, dots, dashes and underscores"
        raise ConfigError("not a name of a source", value=name, where=where, hint=hint)
    where = f"{where}: {name}"
    if not isinstance(values, Mapping):
        raise ConfigError("a source is a mapping", value=values, where=where, hint="write machine: pump, listen: mic")
    known = {it.name: it for it in fields(DeclaredSource) if it.name != "name"}
    if unknown := [key for key in values if key not in known]:
        raise ConfigError("no such key", value=unknown[0], where=where, hint=f"there are {', '.join(known)}")
    for key, value in values.items():
        _check(key, value, known[key].default, where)
    if not values.get("machine"):
        raise ConfigError("a source needs a machine", where=where, hint="write machine: NAME")
    if len([kind for kind in _KINDS if values.get(kind)]) != 1:
        raise ConfigError("a source either listens or watches", where=where, hint="write listen: mic or watch: FOLDER")
    source = DeclaredSource(name=name, **values)
    _check_address(source.listen, where)
    try:
        parse_schedule(source.schedule) if source.schedule else None
    except ConfigError as error:
        raise ConfigError(error.what, value=error.value, where=where, hint=error.hint) from error
    return source


def load_sources(file: Path) -> dict[str, DeclaredSource]:
    """Return the sources of a file by name; no file has none.

    Raises:
        ConfigError: It cannot be read, or something in it is wrong.
    """
    if not file.exists():
        return {}
    try:
        tree = yaml.load(file.read_text(encoding="utf-8"), _Strict)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ConfigError(f"cannot be read ({reason})", where=file) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"not YAML ({' '.join(str(error).split())})", where=file) from error
    tree = {} if tree is None else tree
    if not isinstance(tree, dict) or set(tree) - {"sources"}:
        unknown = sorted(map(str, set(tree) - {"sources"}))[0] if isinstance(tree, dict) else type(tree).__name__
        raise ConfigError("not a mapping with the key sources alone", value=unknown, where=file)
    listed = tree.get("sources") or {}
    if not isinstance(listed, dict):
        raise ConfigError("sources are a mapping by name", where=file, hint="write sources: {hall: {machine: pump}}")
    return {name: declare(name, values, file) for name, values in listed.items()}


def save_sources(file: Path, sources: Mapping[str, DeclaredSource]) -> None:
    """Write sources to a file, whole or not at all, for its owner's eyes: addresses may hold passwords.

    Raises:
        OutputError: The disk is full or gone.
    """
    tree = {"sources": {name: source.to_values() for name, source in sources.items()}}
    with atomic_path(file) as temporary:
        temporary.chmod(0o600)
        temporary.write_text(_HEADER + yaml.safe_dump(tree, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _check(key: str, value: object, usual: object, where: str) -> None:
    if usual is MISSING or isinstance(usual, str):
        right = isinstance(value, str) and value.isprintable() and len(value) <= 2000
    elif isinstance(usual, bool):
        right = isinstance(value, bool)
    elif isinstance(value, bool) or not isinstance(value, int if isinstance(usual, int) else int | float):
        right = False
    else:
        right = math.isfinite(value) and 0 <= value <= 1e6
    if not right:
        kind = "text" if usual is MISSING else type(usual).__name__.replace("str", "text").replace("float", "seconds")
        raise ConfigError(f"{key} is no {kind}", value=value, where=where)


def _check_address(address: str, where: str) -> None:
    if not address or address == "mic" or address.startswith("mic:"):
        return
    try:
        parts = urlsplit(address)
        wrong = parts.scheme not in SCHEMES or not parts.hostname or parts.port == 0
    except ValueError:
        wrong = True
    if wrong:
        shown = address.rpartition("@")[2]
        hint = "write mic, mic:NAME, rtsp://host/path or http://host/path"
        raise ConfigError("no such source", value=shown, where=where, hint=hint)


class _Strict(yaml.SafeLoader):
    """A loader that refuses a key that comes twice, of which YAML would forget the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [str(key.value) for key, _ in node.value]
        if twice := next((key for key in keys if keys.count(key) > 1), ""):
            raise yaml.constructor.ConstructorError(None, None, f"the key {twice} comes twice", node.start_mark)
        return super().construct_mapping(node, deep)

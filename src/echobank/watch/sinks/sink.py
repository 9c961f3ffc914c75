"""A sink: a place that messages go to. `send` returns when the other side has taken the messages, and raises when not.

Troubles name the host alone: a path or query of a webhook is often a secret, and troubles are sent to other sinks.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable
from urllib.parse import SplitResult, urlsplit

from echobank.errors import ConfigError, EchobankError
from echobank.watch.events import Message

EVENTS = frozenset({"open", "close", "error", "heartbeat", "no_sound", "sound", "bank_health", "test"})
ROWS = frozenset({"open", "close", "error", "score", "no_sound", "sound"})


class SinkError(EchobankError):
    """A sink did not take a message; it is sent again later."""


class Sink(Protocol):
    """A place that messages go to.

    Attributes:
        name: Short name, unique among the sinks of a watch; the key of what is already delivered.
        kinds: Kinds of messages that it wants.
        remote: Whether it lies behind a network, and may take its time.
    """

    name: str
    kinds: frozenset[str]
    remote: bool

    def send(self, messages: Sequence[Message]) -> None:
        """Deliver messages in order.

        Raises:
            SinkError: It is not certain that all of them were accepted.
        """
        ...

    def mark(self) -> int:
        """Return a position that `rewind` goes back to."""
        ...

    def rewind(self, mark: int) -> None:
        """Take back what was sent after a mark, where that is possible: a restart then doubles nothing."""
        ...

    def close(self) -> None:
        """Close files and connections."""
        ...


@runtime_checkable
class Commanded(Protocol):
    """A sink that can pause and resume a machine."""

    def obey(self, take: Callable[[str], None]) -> None:
        """Pass every command that arrives to a function, in a thread of the sink's own."""
        ...


def split_address(url: str, schemes: Sequence[str], what: str, hint: str) -> SplitResult:
    """Return the parts of an address after checking what can be checked without the network.

    Args:
        url: The address.
        schemes: Those that it may have.
        what: What it should be, for messages.
        hint: How such an address is written.

    Raises:
        ConfigError: Another scheme, no host, an impossible port, or a character that an address cannot have.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:  # a port that is no number or above 65535, half an IPv6 address
        raise ConfigError(f"not {what} ({error})", value=_without_login(url), hint=hint) from error
    if parts.scheme not in schemes or not host:
        raise ConfigError(f"not {what}", value=_without_login(url), hint=hint)
    if port == 0 or any(sign.isspace() or not sign.isprintable() for sign in url):
        why = "port 0" if port == 0 else "a space or an unprintable character in it"
        raise ConfigError(f"not {what} ({why})", value=_without_login(url), hint=hint)
    if any(not 0 < len(label) < 64 for label in host.removesuffix(".").split(".")) and ":" not in host:
        raise ConfigError(f"not {what} (no such name of a host)", value=host, hint=hint)
    return parts


def hidden(parts: SplitResult) -> str:
    """Return an address without user and password, for messages."""
    return _without_login(parts.geturl())


def _without_login(url: str) -> str:
    scheme, slashes, rest = url.partition("://")
    return f"{scheme}{slashes}{rest.rpartition('@')[2]}" if slashes else url


def digest(text: str) -> str:
    """Return eight characters that distinguish addresses without revealing them."""
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:8]

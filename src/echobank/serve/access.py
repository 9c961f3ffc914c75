"""Access: who may do what. Tokens of 256 random bits, kept as SHA-256; a login is a token that expires."""

import hashlib
import math
import secrets
import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, delete, exists, func, or_, select

from echobank.errors import EchobankError, InputError
from echobank.serve.intake import now_ms
from echobank.serve.schema import tokens

SCOPES = ("read", "upload", "curate", "audio", "admin")
LOGIN_FOR = 12 * 3_600_000  # ms
_FAILURES, _WITHIN = 10, 60.0
_CLIENTS = 10_000
_KNOWN_FOR = 1.0  # seconds; a token that another process makes or withdraws is noticed after that
_NEVER = (-math.inf, False)
_SOME = select(exists().select_from(tokens))


class NotAllowedError(EchobankError):
    """A request without the right to what it asks for.

    Args:
        status: 401 without a token, 403 with one of another scope, 429 after many failures.
        what: What is wrong.
    """

    def __init__(self, status: int, what: str) -> None:
        super().__init__(what)
        self.status = status


@dataclass(frozen=True)
class Holder:
    """Who asks.

    Attributes:
        name: Name of the token.
        scopes: What it allows; admin allows everything.
        token: Number of the token; None where none is needed.
    """

    name: str
    scopes: frozenset[str]
    token: int | None = None

    def may(self, scope: str) -> bool:
        """Return whether it allows something."""
        return scope in self.scopes or "admin" in self.scopes


EVERYBODY = Holder("", frozenset(SCOPES))


class Access:
    """Decides which requests are allowed.

    Args:
        engine: The database.
        required: Whether a token is needed; True as soon as there is one.
    """

    def __init__(self, engine: Engine, required: bool) -> None:
        self._engine, self._required = engine, required
        self._failed: dict[str, deque[float]] = {}
        self._gate = threading.Lock()
        self._known: dict[str, tuple[float, Holder]] = {}
        self._wanted = _NEVER

    def holder(self, token: str, client: str) -> Holder:
        """Return who holds a token.

        Args:
            token: The token, or empty.
            client: Address of who asks; many failures of one address are answered with 429.

        Raises:
            NotAllowedError: No token, an unknown one, or too many failures.
        """
        if not token and not self._required and not self._any():
            return EVERYBODY
        if not token:
            raise NotAllowedError(401, "a token is needed")
        known = self._known.get(kept := digest_of(token))
        if known is not None and time.monotonic() - known[0] < _KNOWN_FOR:
            return known[1]
        with self._engine.connect() as connection:
            valid = or_(tokens.c.ends.is_(None), tokens.c.ends > now_ms())
            row = connection.execute(select(tokens).where(tokens.c.sha256 == kept, valid)).first()
        if row is None and self._blocked(client):  # many may share an address, so who holds a token is let in
            raise NotAllowedError(429, "too many failures, wait a minute")
        if row is None:
            self._note_failure(client)
            raise NotAllowedError(401, "the token is unknown or has expired")
        holder = Holder(row.name, frozenset(row.scopes.split()), row.id)
        if len(self._known) >= _CLIENTS:
            self._known.clear()
        self._known[kept] = (time.monotonic(), holder)
        return holder

    def forget(self) -> None:
        """Look tokens up again; after one was made or withdrawn."""
        self._known.clear()
        self._wanted = _NEVER

    def _any(self) -> bool:
        """Return whether there is a token; asked for every request, so what was true a moment ago will do."""
        if time.monotonic() - self._wanted[0] >= _KNOWN_FOR:
            with self._engine.connect() as connection:
                found = bool(connection.execute(_SOME).scalar())
            self._wanted = (time.monotonic(), found)
        return self._wanted[1]

    def _blocked(self, client: str) -> bool:
        with self._gate:
            times = self._failed.get(client)
            return bool(times) and len(times or ()) == _FAILURES and time.monotonic() - (times or (0,))[0] < _WITHIN

    def _note_failure(self, client: str) -> None:
        with self._gate:
            if len(self._failed) >= _CLIENTS:
                self._failed.clear()
            self._failed.setdefault(client, deque(maxlen=_FAILURES)).append(time.monotonic())


def digest_of(token: str) -> str:
    """Return what is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "backslashreplace")).hexdigest()


def make_token(
    connection: Connection, name: str, scopes: Iterable[str], *, ends: int | None = None, parent: int | None = None
) -> str:
    """Make a token and return it; it cannot be shown again.

    Raises:
        InputError: A scope that does not exist, or none.
    """
    wanted = set(scopes)
    if not wanted or wanted - set(SCOPES):
        raise InputError("no such scope", value=sorted(wanted - set(SCOPES)), hint=f"they are {', '.join(SCOPES)}")
    token = f"eb_{secrets.token_urlsafe(32)}"
    kept = {"name": name, "sha256": digest_of(token), "scopes": " ".join(sorted(wanted))}
    connection.execute(tokens.insert().values(**kept, created=now_ms(), ends=ends, parent=parent))
    return token


def drop_token(connection: Connection, number: int) -> int:
    """Withdraw a token and its logins, and return how many tokens it was."""
    connection.execute(delete(tokens).where(tokens.c.parent == number))
    return connection.execute(delete(tokens).where(tokens.c.id == number)).rowcount


def has_tokens(engine: Engine) -> bool:
    """Return whether there is a token that is no login."""
    with engine.connect() as connection:
        found = select(func.count()).select_from(tokens).where(tokens.c.parent.is_(None))
        return bool(connection.execute(found).scalar())

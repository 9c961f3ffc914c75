"""Whether torch, the extra `beats`, is installed."""

from importlib.util import find_spec

from echobank.errors import ConfigError


def has_torch() -> bool:
    """Return whether torch is installed, without importing it."""
    return find_spec("torch") is not None


def require_torch(what: str) -> None:
    """Refuse what needs torch where that is not installed.

    Args:
        what: What was asked for, the subject of the message.

    Raises:
        ConfigError: torch is not installed; it names the extra that brings it.
    """
    if not has_torch():
        raise ConfigError(f"{what} needs torch, which is not installed", hint="pip install 'echobank[beats]'")

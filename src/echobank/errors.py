"""The errors echobank raises on purpose: what, value, where, next step.

The command line prints one of these as a single line and exits with its `exit_code`; any other exception
that reaches it is a bug.
"""

from pathlib import Path

EXIT_OK = 0
EXIT_ANOMALIES = 1
EXIT_BAD_INPUT = 2
EXIT_SKIPPED = 3
EXIT_BUG = 70  # EX_SOFTWARE of sysexits.h
EXIT_INTERRUPTED = 130


class EchobankError(Exception):
    """Base class of errors that a user can act on.

    Args:
        what: What is wrong, without a full stop.
        value: The offending value, quoted in the message when given.
        where: The file or place it was found in.
        hint: What to do next.
    """

    exit_code = EXIT_BAD_INPUT

    def __init__(self, what: str, *, value: object = None, where: Path | str | None = None, hint: str = "") -> None:
        self.what, self.value, self.where, self.hint = what, value, where, hint
        text = what if value is None else f"{what}: {value!r}"
        if where is not None:
            text = f"{where}: {text}"
        if hint:
            text = f"{text}; {hint}"
        super().__init__(" ".join(text.split()))


class InputError(EchobankError):
    """A folder, table or argument that cannot be used."""


class ConfigError(EchobankError):
    """A configuration key or value that does not exist or is impossible."""


class AudioError(EchobankError):
    """One recording that cannot be read or must not be used; the others are still processed."""


class WeightsError(EchobankError):
    """Encoder weights that are missing, damaged or of another architecture."""


class BankError(EchobankError):
    """A memory bank that is empty, damaged, or made by something else."""


class DownloadError(EchobankError):
    """A file that could not be fetched whole."""


class OutputError(EchobankError):
    """A result that could not be written."""

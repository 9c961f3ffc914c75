"""What a session of tests must hold in a named environment of continuous integration."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.requirements import REASONS

FILE = Path(__file__).with_name("environments.toml")


@dataclass(frozen=True, kw_only=True)
class Environment:
    """One environment of environments.toml.

    Attributes:
        allowed: Reasons to skip that are accepted; a reason of a test begins with one.
        minimum: How many tests must run to their end or skip for an accepted reason.
    """

    allowed: tuple[str, ...]
    minimum: int


def read_environment(name: str, file: Path = FILE) -> Environment:
    """Return an environment of the committed list."""
    known = tomllib.loads(file.read_text(encoding="utf-8"))
    if name not in known:
        raise pytest.UsageError(f"no environment {name!r} in {file}; there are {', '.join(known)}")
    environment = Environment(allowed=tuple(known[name]["allowed"]), minimum=known[name]["minimum"])
    if unknown := set(environment.allowed) - set(REASONS):
        raise pytest.UsageError(
            f"{file}: {name} allows {sorted(unknown)}, which no test gives; see tests/requirements.py"
        )
    return environment


class Strict:
    """Counts the tests of a session, and fails it where one skips for another reason or where tests are missing."""

    def __init__(self, name: str, environment: Environment) -> None:
        """Start with nothing seen."""
        self.name, self.environment = name, environment
        self.ran: set[str] = set()
        self.allowed: dict[str, str] = {}
        self.refused: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a test once it ran, or note why it did not."""
        if report.skipped and not hasattr(report, "wasxfail"):
            self._note(report)
        elif report.when == "call":
            self.ran.add(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note a module that skips as a whole."""
        if report.skipped:
            self._note(report)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Turn a green session red where the environment's rules are broken."""
        if self.problems() and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what was counted and what is wrong."""
        problems = self.problems()
        terminalreporter.section(f"environment {self.name}", red=bool(problems), green=not problems)
        for line in problems:
            terminalreporter.write_line(line, red=True)
        counted = f"{len(self.ran)} ran, {len(self.allowed)} skipped for a reason that is allowed here"
        terminalreporter.write_line(f"{counted}, at least {self.environment.minimum} wanted together")

    def problems(self) -> list[str]:
        """Return what breaks the rules of the environment, one line per problem."""
        lines = [f"not allowed to skip here: {test} ({why})" for test, why in sorted(self.refused.items())]
        count = len(self.ran | set(self.allowed))
        if count < self.environment.minimum:
            lines.append(f"only {count} tests, {FILE.name} wants at least {self.environment.minimum}")
        return lines

    def _note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
        reason = reason.removeprefix("Skipped: ")
        accepted = any(reason == known or reason.startswith(f"{known}: ") for known in self.environment.allowed)
        (self.allowed if accepted else self.refused)[report.nodeid] = reason

"""The judge: the machine that is in force, which follows its bank when that is changed meanwhile."""

from pathlib import Path

import numpy as np

from echobank.detection.bank import load_bank
from echobank.errors import BankError, InputError
from echobank.machines.archive import bank_file
from echobank.machines.listener import Heard
from echobank.machines.machine import Machine, assemble
from echobank.storage import stamp_of
from echobank.watch.rule import Rule, make_rule

_DECIBEL = 10.0 / float(np.log(10.0))  # of natural logarithms of power
_FAR = 20.0  # dB beyond the range of the bank: a gain that was turned, a microphone that fell off


class Judge:
    """A machine and its rule, kept up to date.

    Args:
        machine: The machine.
        bank: Path of its bank.
        k: As `Rule`.
        n: As `Rule`.
        hysteresis: As `make_rule`.
        rate: False-alarm rate in place of the bank's own; None keeps that.

    Raises:
        ConfigError: The rule is impossible.
        InputError: The bank does not support the rate.
    """

    machine: Machine
    rule: Rule
    _taken: str
    _levels: tuple[float, float] | None

    def __init__(self, machine: Machine, bank: Path, k: int, n: int, hysteresis: float, rate: float | None) -> None:
        self._bank, self._rate, self._rule_settings = bank, rate, (k, n, hysteresis)
        self.trouble = ""
        self._take_up(machine, _stamp(bank))

    def refresh(self) -> None:
        """Load a bank that was changed; one that cannot be used is a trouble and leaves the old one in force."""
        stamp = _stamp(self._bank)
        if stamp in ("", self._taken):
            return
        self._taken, self.trouble = stamp, ""
        file = bank_file(self._bank)
        try:
            bank = load_bank(file)
            if bank.header.provenance != self.machine.bank.header.provenance:
                raise BankError("other windows or another encoder than before", where=file, hint="restart the watch")
            self._take_up(assemble(bank, self.machine.listener), stamp)
        except (BankError, InputError) as error:
            self.trouble = f"the bank that was watched with stays in force, the new one cannot be used: {error}"

    def far_levels(self, heard: Heard) -> list[bool]:
        """Return whether the level of each window is far outside the range of the bank's windows.

        Both are means over time and mel bins of the log-mel power, so that they compare whatever the encoder hears.
        """
        if self._levels is None or not heard.profiles.shape[2]:
            return [False] * len(heard)
        levels = _DECIBEL * heard.profiles[:, 0].mean(axis=1)
        low, high = self._levels
        return [bool(level < low - _FAR or level > high + _FAR) for level in levels]

    def _take_up(self, machine: Machine, stamp: str) -> None:
        self.machine = machine if self._rate is None else machine.at_rate(self._rate)
        self.rule = make_rule(self.machine, *self._rule_settings)
        profile = self.machine.bank.extras.get("profile")
        levels = None if profile is None else _DECIBEL * profile[:, 0].mean(axis=1)
        self._levels = None if levels is None else (float(levels.min()), float(levels.max()))
        self._taken = stamp


def _stamp(bank: Path) -> str:
    return stamp_of(bank_file(bank))[0]

"""Scoring a machine without level: the gain of its recording chain has changed, and the bank hears loudness."""

from dataclasses import replace

from echobank.detection.bank import Bank
from echobank.detection.header import Scoring
from echobank.detection.without_level import without_level
from echobank.errors import BankError, ConfigError
from echobank.machines.machine import Machine, assemble, calibrated, provenance_of, scoring_of


def deaf_to_level(machine: Machine) -> Machine:
    """Return the same machine scoring without level, calibrated again on its bank; the bank on disk stays as it is.

    Raises:
        BankError: The bank was compacted: it keeps scores of windows that are gone.
        ConfigError: Nothing else than level is heard.
        InputError: The bank does not support its false-alarm rate.
    """
    bank = machine.bank
    scoring = _quiet(bank)
    if scoring == bank.header.scoring:
        return machine
    if len(bank.dropped.scores):
        raise BankError("a bank that was compacted cannot be scored without level", hint="fit it again")
    changed = calibrated(replace(bank, header=replace(bank.header, scoring=scoring)))
    return assemble(changed, machine.listener, machine.notices)


def hears_level(bank: Bank) -> bool:
    """Return whether a bank hears level beside something else."""
    try:
        return _quiet(bank) != bank.header.scoring
    except ConfigError:
        return False


def _quiet(bank: Bank) -> Scoring:
    return without_level(scoring_of(bank), provenance_of(bank).encoder.name)

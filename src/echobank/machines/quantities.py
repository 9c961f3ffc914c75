"""Quantities: which measured level of a window lies outside all that healthy recordings had, by name and unit.

Only where the bank hears level (`models/encoders/level.py`): its vectors are then the very values, in dB.
"""

from dataclasses import dataclass

from echobank.detection.backends.part import place, unit_of
from echobank.machines.machine import Machine, provenance_of
from echobank.models.encoder import Float32
from echobank.models.encoders.joined import JOINT
from echobank.models.encoders.level import FLOOR_DB, QUANTITIES

_LEAST_DB = 0.5  # outside by less is not worth a sentence
_MOST = 3  # sentences of one card; a louder machine is louder in every band
_RELATIVE = ("level_crest", "level_kurtosis", "level_flatness")  # dB of a ratio, not of full scale


@dataclass(frozen=True)
class Outside:
    """A quantity that lies outside the range of the bank.

    Attributes:
        name: As an engineer calls it: "level", "crest factor", "octave of 2 kHz".
        unit: "dBFS", decibels of full scale, or "dB" of a ratio.
        value: Of the window.
        low: Least of all windows of the bank.
        high: Largest of them.
        more: Other quantities of the same card that lie outside by less, and are not listed.
    """

    name: str
    unit: str
    value: float
    low: float
    high: float
    more: int = 0

    @property
    def excess(self) -> float:
        """How far it lies outside, dB; negative below the range."""
        return self.value - self.high if self.value > self.high else self.value - self.low

    def __str__(self) -> str:
        """Return it as a sentence."""
        size, above = f"{abs(self.excess):.{0 if abs(self.excess) >= 1.5 else 1}f} dB", self.excess > 0
        if self.name == "level":
            text = f"It is {size} {'louder' if above else 'quieter'} than any healthy recording (level"
        else:
            text = f"Its {self.name} is {size} {'above' if above else 'below'} that of any healthy recording ("
        text += f" {self.value:.1f} {self.unit}, healthy {self.low:.1f} to {self.high:.1f} {self.unit})"
        others = f", and {self.more} more like it" if self.more else ""
        return f"{text.replace('( ', '(')}{others}."


def outside(machine: Machine, vector: Float32) -> tuple[Outside, ...]:
    """Return the quantities of a window that lie outside the range of the bank, the farthest of each card first.

    Args:
        machine: The machine.
        vector: The window's embedding, float32[H, D].
    """
    bank = machine.bank
    parts = provenance_of(bank).encoder.name.split(JOINT)
    found: list[Outside] = []
    for part in parts:
        if not unit_of(part) or part not in QUANTITIES:
            continue
        start, _, size = place(bank, part) if len(parts) > 1 else (0, 1, bank.vectors.shape[2])
        known, mine = bank.vectors[:, 0, start : start + size], vector[0, start : start + size]
        unit = "dB" if part in _RELATIVE else "dBFS"
        lows, highs = known.min(axis=0), known.max(axis=0)
        heard = (mine > FLOOR_DB) & (lows > FLOOR_DB)  # a band above half the rate of a recording is not measured
        values = zip(QUANTITIES[part].labels, mine, lows, highs, strict=True)
        ranges = [
            Outside(name, unit, float(value), float(low), float(high))
            for (name, value, low, high), good in zip(values, heard, strict=True)
            if good and not low - _LEAST_DB <= value <= high + _LEAST_DB
        ]
        ranges.sort(key=lambda it: -abs(it.excess))
        shown, rest = ranges[:_MOST], len(ranges[_MOST:])
        if rest:
            last = shown[-1]
            shown[-1] = Outside(last.name, unit, last.value, last.low, last.high, rest)
        found += shown
    return tuple(found)

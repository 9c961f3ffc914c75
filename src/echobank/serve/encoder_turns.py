"""Turns at the encoder: uploads, sources and fits share it fairly; machines with equal settings share one in memory.

One of them at a time embeds. While others wait it begins no batch after half a second, then the one that has waited
longest has its turn; so neither a recording of an hour nor a fit holds up a microphone.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from echobank.detection.bank import load_bank
from echobank.errors import OutputError
from echobank.machines.archive import bank_file
from echobank.machines.listener import Listener
from echobank.machines.machine import Machine, assemble, open_machine
from echobank.models.encoder import Encoder, EncoderFacts, Feature, Float32

UPLOADS = "uploads"  # whose turn it is when recordings that were sent are judged


class TurnsOverError(OutputError):
    """The service stops; what was not embedded was not done, and is done after the next start."""


class Turns:
    """Lets one party at a time at the encoder; several threads of one party at once.

    Args:
        most: Seconds after which a party begins nothing more while others wait.
        clock: A monotonic clock, seconds.
    """

    def __init__(self, most: float = 0.5, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = most, clock
        self._changed = threading.Condition()
        self._line: deque[str] = deque()
        self._holder, self._inside, self._since, self._closed = "", 0, 0.0, False

    @property
    def waiting(self) -> int:
        """Number of parties that wait."""
        return len(self._line)

    @contextmanager
    def turn(self, party: str) -> Iterator[None]:
        """Wait for a turn, and have it.

        Raises:
            TurnsOverError: The service stops.
        """
        with self._changed:
            while not self._may(party):
                if party not in self._line:
                    self._line.append(party)
                self._changed.wait()
            self._take(party)
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                if not self._inside:
                    self._holder = ""
                    self._changed.notify_all()

    def close(self) -> None:
        """Give no more turns but to uploads: somebody waits for their answers."""
        with self._changed:
            self._closed = True
            self._line = deque(party for party in self._line if party == UPLOADS)
            self._changed.notify_all()

    def _may(self, party: str) -> bool:
        if self._closed and party != UPLOADS:
            raise TurnsOverError("the service is stopping")
        if not self._holder:
            return not self._line or self._line[0] == party
        alone = all(other == party for other in self._line)
        return self._holder == party and (alone or self._clock() - self._since < self._most)

    def _take(self, party: str) -> None:
        if self._holder != party:
            self._holder, self._since = party, self._clock()
        if party in self._line:
            self._line.remove(party)
            self._changed.notify_all()  # its other threads may wait too
        self._inside += 1


@dataclass(frozen=True)
class TurnedListener(Listener):
    """A listener that waits for its turn before each batch.

    Attributes:
        turns: The turns.
        party: Whose turn it takes.
    """

    turns: Turns = field(default_factory=Turns)
    party: str = UPLOADS

    def embed(self, samples: Sequence[Feature], *, profiles: bool = True) -> tuple[Float32, Float32, Float32]:
        """As `Listener.embed`.

        Raises:
            TurnsOverError: The service stops.
        """
        with self.turns.turn(self.party):
            return super().embed(samples, profiles=profiles)


class SharedEncoders:
    """Opens machines so that they share encoders and turns at them.

    Args:
        device: Where encoders run.
    """

    def __init__(self, device: str = "auto") -> None:
        self._device, self.turns = device, Turns()
        self._known: dict[EncoderFacts, Encoder] = {}

    def open(self, bank: Path) -> Machine:
        """Return a machine whose listener takes the turns of uploads.

        Raises:
            BankError: As `open_machine`.
            WeightsError: As `open_machine`.
        """
        content = load_bank(bank_file(bank))
        made = content.header.provenance
        known = self._known.get(made.encoder) if made else None
        if made and made.window and known and content.header.machine:
            window = made.window
            listener = Listener(known, made.pooling, window.seconds, window.hop, made.layer, made.channel.identity)
            machine = assemble(content, listener)
        else:
            machine = open_machine(bank, device=self._device)
            self._known[machine.listener.encoder.facts] = machine.listener.encoder
        return self.as_party(machine, UPLOADS)

    def as_party(self, machine: Machine, party: str) -> Machine:
        """Return a machine whose listener takes the turns of another party."""
        return replace(machine, listener=self.turned(machine.listener, party))

    def turned(self, listener: Listener, party: str) -> TurnedListener:
        """Return a listener that takes the turns of a party."""
        facts = {it.name: getattr(listener, it.name) for it in fields(Listener)}
        return TurnedListener(**facts, turns=self.turns, party=party)

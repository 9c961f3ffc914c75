"""A bounded cache of machines: an actor that judges thousands of them keeps the last few banks in memory."""

from collections import OrderedDict
from dataclasses import dataclass

from echobank.detection.bank import load_bank
from echobank.errors import BankError
from echobank.fleet.fitting import BANK
from echobank.fleet.location import Location
from echobank.fleet.replay import replay
from echobank.machines.machine import Machine, assemble, require_own
from echobank.models.provenance import Provenance, require_same
from echobank.storage import sha256_file

BANKS, BYTES = 64, 512 << 20


@dataclass(frozen=True)
class KeptBank:
    """A machine, the hash of its bank's file, and about how much memory it takes, bytes."""

    machine: Machine
    sha256: str
    size: int


class BankCache:
    """Opens machines by name and keeps those that were used last.

    Args:
        banks: Where they are.
        made: What made the embeddings that they are to judge.
        rate: False-alarm rate; None takes that of each bank.
        most: Most banks kept.
        most_bytes: Most bytes kept; one bank is kept whatever its size.
    """

    def __init__(
        self, banks: Location, made: Provenance, rate: float | None, most: int = BANKS, most_bytes: int = BYTES
    ) -> None:
        self._banks, self._made, self._rate = banks, made, rate
        self._most, self._most_bytes = most, most_bytes
        self._kept: OrderedDict[tuple[str, str], KeptBank] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, name: str) -> KeptBank:
        """Return a machine, opened again where its file has changed.

        Raises:
            BankError: There is none, it is damaged, or it was made by something else.
            InputError: It does not support the false-alarm rate.
        """
        stamp = self._banks.stamp(f"{name}/{BANK}")
        if stamp is None:
            where = self._banks.show(f"{name}/{BANK}")
            raise BankError("no bank of this machine", where=where, hint="run echobank fleet fit first")
        key = name, stamp.version
        if key not in self._kept:
            self._kept[key] = self._opened(f"{name}/{BANK}")
        self._kept.move_to_end(key)
        while len(self._kept) > 1 and (len(self._kept) > self._most or self._bytes > self._most_bytes):
            self._kept.popitem(last=False)
        return self._kept[key]

    @property
    def _bytes(self) -> int:
        return sum(kept.size for kept in self._kept.values())

    def _opened(self, file: str) -> KeptBank:
        with self._banks.at_hand(file) as path:
            bank = require_own(load_bank(path), path)
            require_same(bank.header.provenance, self._made, self._banks.show(file))
            machine = assemble(bank, replay(self._made, ()))
            if self._rate is not None:
                machine = machine.at_rate(self._rate)
            size = 2 * bank.vectors.nbytes + sum(array.nbytes for array in bank.extras.values())
            return KeptBank(machine, sha256_file(path), size)

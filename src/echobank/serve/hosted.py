"""A machine that the service hosts: its bank, the rule of its events, its mutes; and what users do to the bank."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from echobank.data.channels import Channel
from echobank.detection.bank import Bank
from echobank.errors import InputError
from echobank.machines import archive, curate
from echobank.machines.harvest import gather
from echobank.machines.listener import Heard
from echobank.machines.machine import Machine
from echobank.machines.tags import Tagging
from echobank.machines.verdict import Verdict
from echobank.serve.encoder_turns import SharedEncoders
from echobank.watch.judge import Judge
from echobank.watch.mutes import Mutes
from echobank.watch.rule import Rule


@dataclass(frozen=True)
class Judgement:
    """A recording that was judged.

    Attributes:
        heard: What was heard.
        verdicts: One per window, or the one line of a recording with an error.
        nuisances: Name of the acknowledged sound that each window is like, or empty.
        rule: The rule that was in force.
        revision: Revision of the bank that judged.
    """

    heard: Heard
    verdicts: tuple[Verdict, ...]
    nuisances: tuple[str, ...]
    rule: Rule
    revision: int


class HostedMachine:
    """One machine and its bank.

    Args:
        bank: Path of its bank.
        state: Folder of its mutes.
        k: Windows above the threshold that open an event ...
        n: ... among this many of the last.
        hysteresis: As `make_rule`.
        encoders: Opens it, with the encoder that other machines have too.

    Raises:
        BankError: The bank cannot be used.
        WeightsError: The weights of its encoder are not there.
    """

    def __init__(self, bank: Path, state: Path, k: int, n: int, hysteresis: float, encoders: SharedEncoders) -> None:
        self.bank, self.state = bank, state
        machine = encoders.open(bank)
        self.name = machine.name
        self._judge = Judge(machine, bank, k, n, hysteresis, None)
        self._mutes = Mutes(state, bank, n)
        self._gate = threading.RLock()

    @property
    def machine(self) -> Machine:
        """The machine in force."""
        with self._gate:
            self._judge.refresh()
            return self._judge.machine

    @property
    def in_force(self) -> Machine:
        """The machine as it was judged with last; does not wait for what is being judged."""
        return self._judge.machine

    @property
    def revision(self) -> int:
        """Revision of the bank in force."""
        return archive.revision_of(self.machine.bank)

    @property
    def troubles(self) -> tuple[str, ...]:
        """What is wrong with its bank or its mutes."""
        return tuple(filter(None, (self._judge.trouble, self._mutes.trouble)))

    def judge(self, sounds: Sequence[tuple[Path, str, str]]) -> list[Judgement]:
        """Return the verdicts on recordings that were decoded.

        Args:
            sounds: (WAV of what is heard, name for the verdicts, hash of what was sent) of each.
        """
        with self._gate:
            machine, rule = self.machine, self._judge.rule
            listener = replace(machine.listener, channel=Channel.of(machine.listener.channel).alone.identity)
            found = []
            for heard, (_, name, sha256) in zip(
                listener.hear([wav for wav, _, _ in sounds], profiles=False), sounds, strict=True
            ):
                found.append(replace(heard, path=Path(name), sha256=sha256 if heard.sha256 else ""))
            judged = zip(found, machine.judge_all(found), strict=True)
            number = archive.revision_of(machine.bank)
            return [
                Judgement(heard, tuple(verdicts), tuple(self._mutes.names(heard, machine)), rule, number)
                for heard, verdicts in judged
            ]

    def remember(self, event: str, judgement: Judgement) -> None:
        """Keep what an event sounds like, for a mute that may come.

        Raises:
            OutputError: The disk is full or gone.
        """
        with self._gate:
            self._mutes.remember(event, judgement.heard, judgement.verdicts, self.machine)

    def learn(self, clip: Path, name: str, folder: Path) -> Bank:
        """Take a recording as healthy; `undo` brings the bank back, byte for byte.

        Raises:
            InputError: The recording cannot be used.
            BankError: Another program is changing the bank.
            OutputError: The disk is full or gone.
        """
        machine = self.machine
        harvest = gather([(clip, name)], machine.listener, Tagging(), self.name)
        return self._change(lambda old: curate.add(old, harvest, [str(folder)]), "add", [name])

    def set_rate(self, rate: float) -> Bank:
        """Set the false-alarm rate.

        Raises:
            InputError: The bank does not support it.
            BankError: Another program is changing the bank.
            OutputError: The disk is full or gone.
        """
        return self._change(lambda old: curate.recalibrate(old, rate), "calibrate", [])

    def undo(self, revision: int | None = None) -> Bank:
        """Bring back the state before the last change.

        Args:
            revision: The change that must be the last; None takes any.

        Raises:
            InputError: Another change came after it.
            BankError: There is no earlier state.
        """
        with self._gate:
            now = self.revision
            if revision is not None and revision != now:
                raise InputError("the bank was changed after that", value=now, hint="undo the later changes first")
            archive.undo(self.bank)
            return self.machine.bank

    def _change(self, work: Callable[[Bank], Bank], action: str, files: list[str]) -> Bank:
        facts = {"files": files} if files else {}
        archive.change(self.bank, work, action, **facts)
        return self.machine.bank

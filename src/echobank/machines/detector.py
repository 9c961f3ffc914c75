"""`Detector`: the Python interface to one machine. The command line uses the same functions."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import soundfile
from numpy.typing import ArrayLike

from echobank.data.audio import Stream
from echobank.data.channels import Channel
from echobank.data.decoding import checked_samples
from echobank.data.folder import LeftOut
from echobank.data.windows import Window, cut_stream
from echobank.errors import InputError
from echobank.machines import archive, curate
from echobank.machines.explain import Explanation, explain
from echobank.machines.fit import FitSettings, fit_machine, machine_config, roots_of
from echobank.machines.harvest import Harvest, gather
from echobank.machines.health import Health, health
from echobank.machines.machine import Machine, assemble, open_machine
from echobank.machines.score import score_stream
from echobank.machines.tags import Tagging, find_recordings
from echobank.machines.verdict import Verdict
from echobank.models.encoder import hears_source


class Detector:
    """Learns what a machine sounds like while it is healthy, and judges other recordings of it.

    Args:
        machine: Name of the machine.
        seconds: Length of a window.
        hop: Distance between the beginnings of windows, seconds; None is half a window, as on the command line.
        settings: Overrides such as "model.embedding=beats_base"; see `configs/default.yaml`.

    Attributes:
        machine_: Bank, encoder, back-end and calibration, after `fit` or `load`.
        harvest_: What `fit` heard.
    """

    machine_: Machine
    harvest_: Harvest

    def __init__(
        self,
        machine: str = "machine",
        *,
        seconds: float = 10.0,
        hop: float | None = None,
        settings: Sequence[str] = (),
    ) -> None:
        self.machine, self.seconds, self.hop, self.settings = machine, seconds, hop, tuple(settings)

    def fit(self, files: Iterable[Path | str] | Path | str, tagging: Tagging | None = None) -> Self:
        """Learn from healthy recordings: files, or folders of them.

        Raises:
            InputError: There are none that can be used.
            BankError: They are too few.
        """
        paths = _paths(files)
        hop = self.seconds / 2 if self.hop is None else self.hop
        wanted = FitSettings(self.machine, self.seconds, hop, tagging or Tagging())
        self.machine_, self.harvest_ = fit_machine(machine_config(None, self.settings), paths, wanted)
        return self

    def fit_samples(self, recordings: Iterable[ArrayLike], rate: int) -> Self:
        """Learn from healthy recordings that are in memory.

        Args:
            recordings: One channel each, float[T] in [-1, 1], or int16 or int32 as a converter gives them; [T, 2] where
                `data.channel` takes two microphones. The bank calls them 00000.wav, 00001.wav and so on.
            rate: Their rate, Hz.

        Raises:
            InputError: Not one channel of finite numbers, an impossible rate, or no recording that can be used.
            BankError: They are too few.
        """
        channel = Channel.of(machine_config(None, self.settings).data.channel)
        with TemporaryDirectory() as folder:  # the one way into a bank is by files, with their hashes and flags
            for number, samples in enumerate(recordings):
                path = Path(folder) / f"{number:05d}.wav"
                soundfile.write(path, checked_samples(samples, rate, channel), rate, subtype="FLOAT")
            return self.fit(folder)

    def score(self, files: Iterable[Path | str] | Path | str) -> list[Verdict]:
        """Return one verdict per window of recordings, or of folders of them.

        Raises:
            InputError: There is nothing to score, or nothing was fitted.
        """
        machine = self._fitted
        paths = _paths(files)
        found = [path for path, _ in find_recordings(paths)]
        return [verdict for verdicts in score_stream(machine, found) for verdict in verdicts]

    def score_samples(self, samples: ArrayLike, rate: int, name: str = "samples") -> list[Verdict]:
        """Return one verdict per window of samples that are in memory.

        Args:
            samples: One channel, float[T] in [-1, 1], or int16 or int32 as a converter gives them; where the bank was
                made with `data.channel: w1`, the near and the far microphone, float[T, 2].
            rate: Their rate, Hz.
            name: What they are called in the verdicts.

        Raises:
            InputError: Not samples of so many channels, a number that is not finite, an impossible rate, or nothing was
                fitted.
        """
        listener = self._fitted.listener
        cut = self._cut([samples], rate)
        windows = [window for number, window in enumerate(cut) if not number or window.seconds >= listener.seconds / 2]
        return self._fitted.judge(listener.hear_windows(Path(name), windows, profiles=False))

    def score_blocks(self, blocks: Iterable[ArrayLike], rate: int, name: str = "live") -> Iterator[Verdict]:
        """Yield the verdict of each window of endless sound as soon as its last sample is there.

        Args:
            blocks: One channel, block by block in blocks of any length, as `score_samples` takes samples.
            rate: Their rate, Hz.
            name: What they are called in the verdicts.

        Raises:
            InputError: As `score_samples`.
        """
        machine = self._fitted
        for window in self._cut(blocks, rate):
            if window.seconds >= machine.listener.seconds / 2:
                yield from machine.judge(machine.listener.hear_windows(Path(name), [window], profiles=False))

    def decide(self, *, far: float) -> Self:
        """Judge at another false-alarm rate from now on, also after `save` and `load`.

        Raises:
            InputError: The healthy recordings are too few for it.
        """
        machine = self._fitted
        self.machine_ = replace(machine.at_rate(far), bank=curate.with_rate(machine.bank, far))
        return self

    def explain(self, file: Path | str, start: float | None = None) -> Explanation:
        """Return why a recording got its score, at its worst window or the one that begins at `start` seconds."""
        return explain(self._fitted, _paths([file])[0], start)

    def health(self) -> Health:
        """Return what the bank holds and supports."""
        return health(self._fitted.bank)

    def add(self, files: Iterable[Path | str] | Path | str, tagging: Tagging | None = None) -> Self:
        """Take more recordings as healthy, without embedding the others again."""
        paths = _paths(files)
        left_out = LeftOut()
        found = find_recordings(paths, left_out)
        machine = self._fitted
        harvest = gather(found, machine.listener, tagging or Tagging(), machine.name, left_out=left_out)
        bank = curate.add(self._fitted.bank, harvest, roots_of(paths))
        self.machine_ = assemble(bank, self._fitted.listener)
        return self

    def save(self, path: Path | str) -> None:
        """Write the bank, with the rate that `decide` set; a bank that was there can be restored by `bank undo`.

        Raises:
            BankError: Another program is changing the bank.
            OutputError: It cannot be written.
        """
        archive.put(path, self._fitted.bank, "save")

    @classmethod
    def load(cls, path: Path | str, *, device: str = "auto", weights: str | None = None) -> "Detector":
        """Open a bank.

        Raises:
            BankError: It is missing, damaged, or of something else.
        """
        machine = open_machine(path, device=device, weights=weights)
        detector = cls(machine.name, seconds=machine.listener.seconds, hop=machine.listener.hop)
        detector.machine_ = machine
        return detector

    def _cut(self, blocks: Iterable[ArrayLike], rate: int) -> Iterator[Window]:
        listener = self._fitted.listener
        alone = Channel.of(listener.channel).alone
        return cut_stream(
            Stream(rate, alone.width, (checked_samples(block, rate, alone) for block in blocks)),
            seconds=listener.seconds,
            hop=listener.hop,
            sample_rate=listener.encoder.facts.sample_rate,
            channel=alone.identity,
            source=hears_source(listener.encoder),
        )

    @property
    def _fitted(self) -> Machine:
        if not hasattr(self, "machine_"):
            raise InputError("the detector is not fitted", hint="call fit or load first")
        return self.machine_


def _paths(files: Any) -> list[Path | str]:
    """Return the paths that a method was given.

    Raises:
        InputError: Something else than paths, for example an array.
    """
    if isinstance(files, str | Path):
        return [files]
    found = list(files) if isinstance(files, Iterable) else [files]
    for it in found:
        if not isinstance(it, str | Path):
            hint = "samples in memory go to fit_samples(recordings, rate) and score_samples(samples, rate)"
            raise InputError(f"not the path of a recording or folder, but of type {type(it).__name__}", hint=hint)
    return found

"""The endless stream that a student hears: groups of clips of one machine or place, mixed, filtered and cropped.

What a batch holds depends on the seed and its number alone. Clips are 16 kHz.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from echobank.data.synthesis.machine_types import MACHINES, record
from echobank.data.synthesis.signals import RATE, Fault
from echobank.training.places import PlaceSettings, draw_place, hear_at
from echobank.training.recordings import SoundFile, draw_recording, read_piece

Float32 = NDArray[np.float32]

# every operating point of every type, with the number of the type
_STATES = [
    (number, machine, condition)
    for number, machine in enumerate(MACHINES.values())
    for condition in (*machine.source, *machine.target)
]


@dataclass(frozen=True)
class StreamSettings:
    """How clips are drawn and changed.

    Attributes:
        groups: Machines or places per batch.
        members: Clips of each.
        seconds: Length of the clips of a batch, drawn between the two.
        synthetic: Share of groups that are synthetic machines; the others are stretches of one recording.
        identities: Individuals of each type of synthetic machine.
        faults: Share of a machine's clips that have a fault: what differs within a machine is learned from them.
        place: How a group is changed.
        seed: Of everything drawn.
    """

    groups: int = 8
    members: int = 8
    seconds: tuple[float, float] = (2.0, 3.0)
    synthetic: float = 0.6
    identities: int = 64
    faults: float = 0.4
    place: PlaceSettings = field(default_factory=PlaceSettings)
    seed: int = 0

    @property
    def size(self) -> int:
        """Clips per batch."""
        return self.groups * self.members


@dataclass(frozen=True)
class SceneBatch:
    """The clips of a batch.

    Attributes:
        waveforms: float32[B, T], `members` clips of each group in turn.
        identity: Number of the individual machine of each clip, int64[B]; -1 where it is a recording.
        state: Number of the machine type and its operating point, int64[B]; -1 likewise.
    """

    waveforms: Float32
    identity: NDArray[np.int64]
    state: NDArray[np.int64]


def count_labels(settings: StreamSettings) -> tuple[int, int]:
    """Return how many individuals and how many operating points synthetic machines have."""
    return settings.identities * len(MACHINES), len(_STATES)


def draw_batch(recordings: Sequence[SoundFile], settings: StreamSettings, number: int) -> SceneBatch:
    """Return the clips of a batch.

    Raises:
        AudioError: A recording has become unreadable.
    """
    rng = np.random.default_rng([settings.seed, number])
    length = round(float(rng.uniform(*settings.seconds)) * 100) * (RATE // 100)
    clips: list[Float32] = []
    identities: list[int] = []
    states: list[int] = []
    for _ in range(settings.groups):
        if not recordings or rng.random() < settings.synthetic:
            state, individual = int(rng.integers(len(_STATES))), int(rng.integers(settings.identities))
            identity = _STATES[state][0] * settings.identities + individual
            sounds = [_record(state, individual, length, settings, rng) for _ in range(settings.members)]
        else:
            state = identity = -1
            recording = draw_recording(recordings, rng)
            sounds = [read_piece(recording, length, rng) for _ in range(settings.members)]
        place = draw_place(recordings, settings.place, rng)
        clips += [hear_at(place, sound, rng) for sound in sounds]
        identities += [identity] * settings.members
        states += [state] * settings.members
    return SceneBatch(np.stack(clips), np.array(identities), np.array(states))


def _record(state: int, individual: int, length: int, settings: StreamSettings, rng: np.random.Generator) -> Float32:
    """Return a recording of a synthetic machine, healthy or not, float32[length]."""
    _, machine, condition = _STATES[state]
    fault = None
    if rng.random() < settings.faults:
        fault = Fault(str(rng.choice(machine.faults)), float(rng.uniform(*machine.severity)))
    return record(machine, individual, condition, fault, length / RATE, rng)

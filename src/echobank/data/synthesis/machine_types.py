"""Synthetic machines: what each can do, the operating points of its domains, and how one recording of it sounds.

The models stand for no real machine. `identity` makes individuals: the same type with its own gears, blades,
resonances and tones.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from echobank.data.synthesis.acoustics import carried_to, factory_noise, heard_by
from echobank.data.synthesis.reciprocating import SLIDER_FAULTS, VALVE_FAULTS, slider, valve
from echobank.data.synthesis.rotating import BEARING_FAULTS, FAN_FAULTS, GEARBOX_FAULTS, bearing, fan, gearbox
from echobank.data.synthesis.signals import RATE, Fault, Rng, Signal, unit
from echobank.data.synthesis.toys import TOY_CAR_FAULTS, TOY_TRAIN_FAULTS, toy_car, toy_train
from echobank.errors import InputError

Float32 = NDArray[np.float32]
Voice = Callable[[Rng, float, float, Fault | None, int, Rng], Signal]

_LEVEL = 0.02
_LEVEL_SPREAD_DB = 1.5
_SNR_SPREAD_DB = 1.5
_SPEED_SPREAD = 0.006
_LOAD_SPREAD = 0.05
_WARM_UP = RATE // 4


@dataclass(frozen=True)
class OperatingPoint:
    """An operating point and where it is heard.

    Attributes:
        attributes: Names and values as they stand in file names.
        speed: Relative to the individual's nominal speed.
        load: From 0 to 1.
        noise: Kind of factory noise, one of `surroundings.NOISES`.
        snr_db: Mean power of the machine over that of the noise, dB.
        microphone: Number of the microphone and its place in the room.
        variant: Further individuals of one identity, such as the cars of a toy-car section.
    """

    attributes: tuple[tuple[str, str], ...]
    speed: float = 1.0
    load: float = 0.5
    noise: str = "pink"
    snr_db: float = 0.0
    microphone: int = 1
    variant: int = 0


@dataclass(frozen=True)
class MachineType:
    """A machine type.

    Attributes:
        name: As in DCASE Task 2.
        voice: Its physical model.
        faults: Kinds of fault it can have.
        source: Conditions of the source domain.
        target: Conditions of the target domain.
        severity: Range from which the severity of a fault is drawn, subtle to clear.
        attributes_known: False where file names say noAttribute.
        supplemental: What its supplemental clips hold, "machine" or "noise".
    """

    name: str
    voice: Voice
    faults: tuple[str, ...]
    source: tuple[OperatingPoint, ...]
    target: tuple[OperatingPoint, ...]
    severity: tuple[float, float]
    attributes_known: bool = True
    supplemental: str = "noise"


def _toy(car: str, speed: str, mic: int, relative: float, variant: int, noise: str, snr: float) -> OperatingPoint:
    attributes = (("car", car), ("spd", speed), ("mic", str(mic)))
    return OperatingPoint(attributes, relative, 0.5, noise, snr, mic, variant)


MACHINES: dict[str, MachineType] = {
    machine.name: machine
    for machine in (
        MachineType(
            "ToyCar",
            toy_car,
            TOY_CAR_FAULTS,
            (
                _toy("A1", "28V", 1, 0.92, 0, "hum", 5),
                _toy("A1", "31V", 1, 1.0, 0, "hum", 5),
                _toy("B1", "31V", 1, 1.0, 1, "hum", 5),
            ),
            (_toy("C1", "34V", 2, 1.08, 2, "babble", 6), _toy("C1", "37V", 2, 1.15, 2, "babble", 6)),
            (0.1, 0.6),
        ),
        MachineType(
            "ToyTrain",
            toy_train,
            TOY_TRAIN_FAULTS,
            (
                _toy("A2", "6", 1, 0.9, 0, "pink", 5),
                _toy("A2", "8", 1, 1.05, 0, "pink", 5),
                _toy("B2", "8", 1, 1.05, 1, "pink", 5),
            ),
            (_toy("C2", "9", 2, 1.15, 2, "hum", 12),),
            (0.4, 1.0),
            attributes_known=False,
            supplemental="machine",
        ),
        MachineType(
            "bearing",
            bearing,
            BEARING_FAULTS,
            tuple(
                OperatingPoint((("vel", vel), ("loc", "A")), speed, load, "pink", 5, 3)
                for vel, speed, load in (("6", 0.8, 0.3), ("10", 1.0, 0.5), ("14", 1.2, 0.7))
            ),
            tuple(
                OperatingPoint((("vel", vel), ("loc", "C")), speed, 0.6, "hum", 9, 4)
                for vel, speed in (("20", 1.5), ("24", 1.7))
            ),
            (0.05, 0.45),
            attributes_known=False,
            supplemental="machine",
        ),
        MachineType(
            "fan",
            fan,
            FAN_FAULTS,
            tuple(
                OperatingPoint((("m-n", name),), 1.0, 0.5, noise, 5, 5) for name, noise in (("W", "pink"), ("X", "hum"))
            ),
            tuple(
                OperatingPoint((("m-n", name),), 1.0, 0.5, noise, 12, 5)
                for name, noise in (("Y", "babble"), ("Z", "impacts"))
            ),
            (0.2, 0.9),
        ),
        MachineType(
            "gearbox",
            gearbox,
            GEARBOX_FAULTS,
            tuple(
                OperatingPoint((("volt", volt), ("wt", weight)), speed, load, "hum", 9, 6)
                for volt, speed, weight, load in (
                    ("1.0", 0.85, "0", 0.1),
                    ("1.5", 1.0, "50", 0.4),
                    ("2.0", 1.15, "100", 0.6),
                )
            ),
            tuple(
                OperatingPoint((("volt", "2.5"), ("wt", weight)), 1.3, load, "pink", 3, 7)
                for weight, load in (("130", 0.8), ("150", 0.95))
            ),
            (0.2, 0.9),
        ),
        MachineType(
            "slider",
            slider,
            SLIDER_FAULTS,
            tuple(
                OperatingPoint((("vel", vel), ("ac", ac)), speed, load, "pink", 5, 8)
                for vel, speed, ac, load in (
                    ("300", 0.8, "0.03", 0.2),
                    ("500", 1.0, "0.08", 0.5),
                    ("700", 1.2, "0.11", 0.7),
                )
            ),
            (OperatingPoint((("vel", "1000"), ("ac", "0.30")), 1.35, 0.9, "hum", 9, 8),),
            (0.35, 1.0),
            attributes_known=False,
        ),
        MachineType(
            "valve",
            valve,
            VALVE_FAULTS,
            tuple(
                OperatingPoint((("pat", pattern),), speed, 0.5, "pink", 5, 9)
                for pattern, speed in (("00", 0.9), ("01", 1.2))
            ),
            (OperatingPoint((("pat", "03"),), 1.4, 0.6, "hum", 12, 9),),
            (0.3, 1.0),
            supplemental="machine",
        ),
    )
}


def find_machine(name: str) -> MachineType:
    """Return a machine type by its name.

    Raises:
        InputError: No such type; the message names the nearest.
    """
    if name in MACHINES:
        return MACHINES[name]
    near = get_close_matches(name, MACHINES, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(MACHINES)}"
    raise InputError("unknown machine type", value=name, hint=hint)


def render(
    machine: MachineType, identity: int, condition: OperatingPoint, fault: Fault | None, seconds: float, rng: Rng
) -> Float32:
    """Return one machine alone, as its microphone hears it, float32[T] in [-1, 1] at `signals.RATE`.

    Each clip has its own small deviation of speed, load and level. Levels are set per clip, as by a recordist, so
    that loudness alone tells nothing.

    Args:
        machine: Type, from `MACHINES`.
        identity: Which individual.
        condition: Operating point; its noise is not added here, see `record`.
        fault: What is wrong with it; None is healthy.
        seconds: Length.
        rng: The generator of this clip.

    Raises:
        InputError: The machine has no such fault.
    """
    if fault is not None and fault.kind not in machine.faults:
        raise InputError(
            f"{machine.name} has no such fault", value=fault.kind, hint=f"it has {', '.join(machine.faults)}"
        )
    individual = np.random.default_rng([zlib.crc32(machine.name.encode()), identity, condition.variant])
    speed = condition.speed * (1 + _SPEED_SPREAD * rng.standard_normal())
    load = float(np.clip(condition.load + _LOAD_SPREAD * rng.standard_normal(), 0, 1))
    count = round(seconds * RATE)
    sound = machine.voice(individual, speed, load, fault, count + _WARM_UP, rng)
    heard = unit(heard_by(sound, condition.microphone)[_WARM_UP:])
    level = _LEVEL * 10.0 ** (_LEVEL_SPREAD_DB * rng.standard_normal() / 20)
    clip: Float32 = np.clip(level * heard, -1, 1).astype(np.float32)
    return clip


def background(condition: OperatingPoint, seconds: float, rng: Rng, channels: int = 1) -> Float32:
    """Return the factory noise of a condition alone, at the level it has in a recording.

    Args:
        condition: Its noise and its microphone.
        seconds: Length.
        rng: The generator of this clip.
        channels: 1 gives float32[T]; 2 gives float32[T, 2], what a far microphone hears and carries to the near one.
    """
    level = _LEVEL * 10.0 ** (-(condition.snr_db + _SNR_SPREAD_DB * rng.standard_normal()) / 20)
    noise = level * factory_noise(condition.noise, round(seconds * RATE), rng)
    if channels == 2:
        noise = np.stack((carried_to(noise, condition.microphone), noise), axis=1)
    clip: Float32 = noise.astype(np.float32)
    return clip


def beside(sound: Float32, channels: int) -> Float32:
    """Return a machine alone as its microphones hear it, float32[T] or float32[T, 2]; the far one does not hear it."""
    return sound if channels == 1 else np.stack((sound, np.zeros_like(sound)), axis=1)


def record(
    machine: MachineType,
    identity: int,
    condition: OperatingPoint,
    fault: Fault | None,
    seconds: float,
    rng: Rng,
    channels: int = 1,
) -> Float32:
    """Return one recording: the machine and its factory noise, in [-1, 1] at `signals.RATE`.

    Args:
        machine: As `render`, like what follows.
        identity: Which individual.
        condition: Operating point and noise.
        fault: What is wrong with it.
        seconds: Length.
        rng: The generator of this clip.
        channels: 1 gives float32[T]; 2 gives float32[T, 2] of a near and a far microphone. The far one hears the noise
            and not the machine, and the noise reaches the near one by a path that is fixed and linear.

    Raises:
        InputError: As `render`.
    """
    sound = beside(render(machine, identity, condition, fault, seconds, rng), channels)
    clip: Float32 = np.clip(sound + background(condition, seconds, rng, channels), -1, 1).astype(np.float32)
    return clip

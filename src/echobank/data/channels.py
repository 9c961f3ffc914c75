"""What is heard of a recording: one of its channels, or its two microphones reduced to one signal.

One value, whose identity enters cache keys and bank headers. A channel is named by its number, a reduction by a word.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from echobank.data.two_microphones import near_minus_far
from echobank.errors import ConfigError

Float32 = NDArray[np.float32]
ChannelName = int | str  # as in the settings: a channel, counted from 0, or "w1"

W1 = "w1"
_NEAR, _FAR = 0, 1  # of DCASE 2026 Task 2


@dataclass(frozen=True)
class Channel:
    """One channel of a recording, or what the microphone beside the machine hears and the far one does not predict.

    Attributes:
        index: Counted from 0; of no meaning where there is a reduction.
        reduction: "w1" takes channel 0 as near and 1 as far (`two_microphones`); empty takes the one channel.
    """

    index: int = 0
    reduction: str = ""

    def __post_init__(self) -> None:
        if self.index < 0:
            raise ConfigError("channels are counted from 0", value=self.index)
        if self.reduction not in ("", W1):
            raise ConfigError("not a channel", value=self.reduction, hint=f"a number, counted from 0, or {W1}")

    @property
    def identity(self) -> ChannelName:
        """What names it in settings, bank headers and cache keys."""
        return self.reduction or self.index

    @classmethod
    def of(cls, identity: object) -> Self:
        """Return the channel of an identity.

        Raises:
            ConfigError: It names none.
        """
        if isinstance(identity, str) and identity:
            return cls(reduction=identity)
        if isinstance(identity, bool) or not isinstance(identity, int):
            raise ConfigError("not a channel", value=identity, hint=f"a number, counted from 0, or {W1}")
        return cls(identity)

    @property
    def width(self) -> int:
        """How many channels of a recording it takes."""
        return 2 if self.reduction else 1

    @property
    def last(self) -> int:
        """The highest channel that it takes, from 0."""
        return _FAR if self.reduction else self.index

    @property
    def alone(self) -> Self:
        """What it is in a recording that holds the channels that it takes and no other."""
        return type(self)(reduction=self.reduction)

    def beside(self, count: int) -> int:
        """Return the second channel that it is compared with, of so many: the next one, or the far microphone."""
        return (self.last if self.reduction else self.index + 1) % count

    def lack(self, count: int, what: str = "recording") -> str:
        """Return why sound of so many channels cannot be used; empty when it can."""
        if self.last < count:
            return ""
        if self.reduction:
            there = "one channel" if count == 1 else f"{count} channels"
            return f"{self.reduction} needs a near and a far microphone (channels 0 and 1), the {what} has {there}"
        return f"no channel {self.index}, the {what} has {count} (counted from 0)"

    def pick(self, block: NDArray[Any]) -> NDArray[Any]:
        """Return what it takes of samples [T, channels]: [T], or [T, 2] of the near and the far microphone."""
        return block[:, _NEAR : _FAR + 1] if self.reduction else block[:, self.index]

    def reduced(self, picked: Float32, rate: int) -> Float32:
        """Return the one signal float32[T] of what was picked, float32[T] or float32[T, 2], at a rate in Hz."""
        if not self.reduction:
            return picked
        return near_minus_far(picked[:, _NEAR], picked[:, _FAR], rate)

    def __str__(self) -> str:
        return str(self.identity)

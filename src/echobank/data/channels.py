"""Which channel of a recording is heard: one value, whose identity enters cache keys and bank headers."""

from dataclasses import dataclass
from typing import Self

from echobank.errors import ConfigError


@dataclass(frozen=True)
class Channel:
    """One channel of a recording.

    Attributes:
        index: Counted from 0.
    """

    index: int = 0

    def __post_init__(self) -> None:
        if self.index < 0:
            raise ConfigError("channels are counted from 0", value=self.index)

    @property
    def identity(self) -> int:
        """What names the channel in bank headers and cache keys."""
        return self.index

    @classmethod
    def of(cls, identity: object) -> Self:
        """Return the channel of an identity.

        Raises:
            ConfigError: It names no channel.
        """
        if isinstance(identity, bool) or not isinstance(identity, int):
            raise ConfigError("not a channel", value=identity, hint="channels are numbers, counted from 0")
        return cls(identity)

    def __str__(self) -> str:
        return str(self.identity)

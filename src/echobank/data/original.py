"""The original: samples of a file as they were before resampling, under the window that is cut from what came of them.

Resampling makes a stuck value ring and takes the edge off clipping, so quality is judged on these.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]

_DELAY = 1 << 16  # samples that the resampler may hold back


class Original:
    """The samples of the file that the windows under way were resampled from.

    Args:
        blocks: Samples of the file float32[T], one block after another.
        ratio: Samples of the file per sample after resampling.
        size: Samples per window, after resampling.
    """

    def __init__(self, blocks: Iterable[Float32], ratio: float, size: int) -> None:
        self._blocks, self._ratio = blocks, ratio
        self._held: list[tuple[int, Float32]] = []
        self._end = 0
        self._kept = round(size * ratio) + _DELAY

    def passing(self) -> Iterator[Float32]:
        """Yield the blocks; a window that is not cut yet ends behind what was resampled, so its own length is kept."""
        before = 0
        for block in self._blocks:
            self._held.append((self._end, block))
            before, self._end = self._end, self._end + len(block)
            yield block
            del block
            least = before - self._kept  # the resampler may be one block ahead of what was cut
            kept = ((max(at, least), old if at >= least else old[least - at :].copy()) for at, old in self._held)
            self._held = [(at, tail) for at, tail in kept if len(tail)]

    def stretch(self, begin: int, length: int) -> Float32:
        """Return the samples of a window that begins at a sample after resampling; at least one."""
        first = round(begin * self._ratio)
        last = max(first + 1, round((begin + length) * self._ratio))
        if self._held[0][0] > first:
            raise RuntimeError("samples of a window were dropped before it was cut")
        parts = [block[max(0, first - at) : max(0, last - at)] for at, block in self._held]
        found = np.concatenate(parts)
        return found if len(found) else self._held[-1][1][-1:]

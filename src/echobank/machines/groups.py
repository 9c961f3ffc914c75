"""Groups: the recordings, or blocks of long ones, that are independent of each other and that rates are counted in."""

from collections.abc import Sequence
from dataclasses import replace

from echobank.detection.rows import Row

MANY = 20  # so many different recordings are counted as they are; fewer long ones are cut into blocks
BLOCK_WINDOWS = 6  # length of a block, in windows: 60 s for windows of 10 s


def in_groups(rows: Sequence[Row], window: float) -> list[Row]:
    """Return rows with their group set: the recording, or a block of a long one where recordings are few.

    Windows that reach over the end of a block get no group: they overlap both sides, and are to be left out.

    Args:
        rows: Rows of all recordings.
        window: Length of a window, seconds.
    """
    block = BLOCK_WINDOWS * window
    lengths: dict[str, float] = {}
    for row in rows:
        lengths[row.sha256] = max(lengths.get(row.sha256, 0.0), row.start + row.seconds)
    cut = len(lengths) < MANY
    grouped: list[Row] = []
    for row in rows:
        group = row.sha256
        if cut and lengths[row.sha256] >= 2 * block:
            first = int(row.start // block)
            inside = row.start + row.seconds <= (first + 1) * block + 1e-6
            group = f"{row.sha256} block {first}" if inside else ""
        grouped.append(replace(row, group=group))
    return grouped

"""What every back-end offers: fit on a bank, score one clip at a time, score the bank itself."""

from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from echobank.detection.bank import Bank

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


class Backend(Protocol):
    """A way of scoring. The constructor only stores its parameters; fitted state ends in `_`.

    Every back-end is inductive: the score of a clip depends on the bank and that clip alone.
    """

    def fit(self, bank: Bank) -> Self:
        """Learn from the bank and return self.

        Raises:
            BankError: The bank is too small for the parameters (for example k larger than its rows).
        """
        ...

    def score(self, embeddings: Float32) -> Float64:
        """Return the anomaly score of each query, float64[Q], from float32[Q, H, D]; larger is more anomalous."""
        ...

    def self_scores(self) -> Float64:
        """Return the score of each bank row against the bank without the rows of its own group, float64[N]."""
        ...

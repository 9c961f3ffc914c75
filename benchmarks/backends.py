"""Time to score 200 clips against 1000 rows at D = 768 with every back-end, beside scikit-learn, in one run.

python benchmarks/backends.py [--self-scores]
"""

import argparse
import statistics
import time

import numpy as np
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors

from echobank.detection.backends import BACKENDS, make_backend
from echobank.detection.bank import Bank, Row

ROWS, QUERIES, DIMENSION, ROUNDS = 1000, 200, 768, 7


def milliseconds(work):
    """Return the median time of a call."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--self-scores", action="store_true", help="time leave-one-out too")
    wanted = parser.parse_args()
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((ROWS + QUERIES, 1, DIMENSION)).astype(np.float32) + 1
    rows = tuple(Row(f"{i}", "m", domain="target" if i >= ROWS - 10 else "source") for i in range(ROWS))
    bank, queries = Bank(vectors[:ROWS], rows), vectors[ROWS:]
    print(f"{'':<22}{'fit ms':>10}{'score ms':>10}{'self s':>10}")
    for name in BACKENDS:
        backend = make_backend(name, k=1, metric="cosine", params={})
        start = time.perf_counter()
        backend.fit(bank)
        fit = 1000 * (time.perf_counter() - start)
        score = milliseconds(lambda backend=backend: backend.score(queries))
        start = time.perf_counter()
        if wanted.self_scores:
            backend.self_scores()
        own = f"{time.perf_counter() - start:10.1f}" if wanted.self_scores else f"{'-':>10}"
        print(f"{name:<22}{fit:10.1f}{score:10.1f}{own}", flush=True)
    flat, asked = bank.vectors[:, 0], queries[:, 0]
    nearest = NearestNeighbors(n_neighbors=1, algorithm="brute", metric="cosine").fit(flat)
    print(f"{'sklearn neighbours':<22}{'':>10}{milliseconds(lambda: nearest.kneighbors(asked)):10.1f}")
    outlier = LocalOutlierFactor(novelty=True, metric="cosine").fit(flat)
    print(f"{'sklearn LOF':<22}{'':>10}{milliseconds(lambda: outlier.score_samples(asked)):10.1f}")


if __name__ == "__main__":
    main()

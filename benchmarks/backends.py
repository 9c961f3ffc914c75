"""Time to score 200 clips against 1000 rows at D = 768 with every back-end, beside scikit-learn and PyOD, in one run.

python benchmarks/backends.py [--self-scores]

The rows are like embeddings: a common mean, and a variance that falls off over the principal axes.
"""

import argparse
import statistics
import time

import numpy as np
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors

from echobank.detection.backends import BACKENDS, make_backend
from echobank.detection.bank import Bank, Row

ROWS, TARGETS, QUERIES, DIMENSION, ROUNDS = 1000, 10, 200, 768, 15
NEIGHBOURS = 5  # of every neighbour method here but LOF, which has 20 in both packages
DECAY = 0.7  # the deviation along axis i is i^-0.7


def milliseconds(work):
    """Return the median time of a call, and the least."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times), min(times)


def vectors_like_embeddings(count, seed=0):
    """Return float32[count, 1, 768]."""
    rng = np.random.default_rng(seed)
    axes = rng.standard_normal((DIMENSION, DIMENSION)) * np.arange(1, DIMENSION + 1) ** -DECAY
    return (rng.standard_normal((count, DIMENSION)) @ axes.T + 3).astype(np.float32)[:, None]


def make_bank(vectors):
    """Return a bank of 990 source rows and 10 target rows."""
    rows = (Row(f"{i:04}", "m", domain="target" if i >= ROWS - TARGETS else "source") for i in range(ROWS))
    return Bank(vectors[:ROWS], tuple(rows))


def rivals(flat):
    """Yield name and scoring function of each rival, fitted on float32[1000, 768]."""
    nearest = NearestNeighbors(n_neighbors=NEIGHBOURS, algorithm="brute", metric="cosine").fit(flat)
    yield "scikit-learn NearestNeighbors", nearest.kneighbors
    yield "scikit-learn LOF, novelty", LocalOutlierFactor(novelty=True, metric="cosine").fit(flat).score_samples
    try:
        from pyod.models.knn import KNN
        from pyod.models.lof import LOF
    except ImportError:
        print("PyOD is not installed and stays out: pip install pyod")
        return
    yield "PyOD KNN", KNN(method="mean").fit(flat).decision_function  # 5 neighbours, euclidean
    yield "PyOD LOF", LOF(metric="cosine", algorithm="brute").fit(flat).decision_function


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--self-scores", action="store_true", help="time leave-one-out too")
    wanted = parser.parse_args()
    vectors = vectors_like_embeddings(ROWS + QUERIES)
    bank, queries = make_bank(vectors), vectors[ROWS:]
    print(f"{'':<32}{'fit ms':>10}{'score ms':>10}{'least ms':>10}{'self s':>10}")
    for name in BACKENDS:
        backend = make_backend(name, k=NEIGHBOURS if name == "knn" else 1, metric="cosine", params={})
        start = time.perf_counter()
        backend.fit(bank)
        fit = 1000 * (time.perf_counter() - start)
        score, least = milliseconds(lambda backend=backend: backend.score(queries))
        start = time.perf_counter()
        if wanted.self_scores:
            backend.self_scores()
        own = f"{time.perf_counter() - start:10.1f}" if wanted.self_scores else f"{'-':>10}"
        print(f"{name:<32}{fit:10.1f}{score:10.1f}{least:10.1f}{own}", flush=True)
    flat, asked = bank.vectors[:, 0], queries[:, 0]
    for name, work in rivals(flat):
        score, least = milliseconds(lambda work=work: work(asked))
        print(f"{name:<32}{'':>10}{score:10.1f}{least:10.1f}", flush=True)


if __name__ == "__main__":
    main()

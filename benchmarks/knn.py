"""Exact nearest neighbours of 1,000 queries, cosine, k = 5, D = 768: ours beside scikit-learn's brute force and faiss.

    python benchmarks/knn.py --rows 1000 10000 100000

Rounds are interleaved and medians are printed. The data imitate embeddings of one machine: clusters close together, far
from the origin, where float32 loses digits. "exact" compares with distances in float64: the share of neighbours that
are the true ones. faiss runs where it is installed (`pip install faiss-cpu`).
"""

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from echobank.detection.search import Index

QUERIES, DIMENSION, K = 1000, 768, 5

Search = Callable[[], NDArray[np.int64]]


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    print(f"{'rows':>8}  {'search':14}{'ms':>9}{'times':>8}{'exact':>9}")
    for rows in args.rows:
        bank, queries = data(rows)
        compare(rows, searches(bank, queries), truth(bank, queries[:100]), args.rounds)


def compare(rows: int, ways: dict[str, Search], true: NDArray[np.int64], rounds: int) -> None:
    """Print one line per way; "times" is how much quicker than scikit-learn."""
    found = {name: search() for name, search in ways.items()}
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, search in ways.items():
            time.sleep(0.2)  # until the threads of the way before have come to rest
            start = time.perf_counter()
            search()
            spent[name].append(1e3 * (time.perf_counter() - start))
    rival = statistics.median(spent["scikit-learn"])
    for name, times in spent.items():
        median = statistics.median(times)
        exact = np.mean([len(np.intersect1d(a, b)) / K for a, b in zip(found[name], true, strict=False)])
        print(f"{rows:8}  {name:14}{median:9.1f}{rival / median:8.2f}{exact:9.2%}", flush=True)


def searches(bank: NDArray[np.float32], queries: NDArray[np.float32]) -> dict[str, Search]:
    """Return the ways, each fitted on the bank; a call finds the neighbours int64[Q, K] of all queries."""
    index = Index(bank[:, None])
    brute = NearestNeighbors(n_neighbors=K, algorithm="brute", metric="cosine").fit(bank)
    ways: dict[str, Search] = {
        "scikit-learn": lambda: brute.kneighbors(queries, return_distance=True)[1],
        "echobank": lambda: index.nearest(queries[:, None], K)[1][:, 0],
    }
    if importlib.util.find_spec("faiss"):
        import faiss

        flat = faiss.IndexFlatIP(DIMENSION)
        flat.add(unit(bank))
        ways["faiss flat"] = lambda: flat.search(unit(queries), K)[1]
    else:
        print("faiss is not installed: left out")
    return ways


def data(rows: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return a bank float32[rows, D] and queries float32[Q, D]."""
    rng = np.random.default_rng(0)
    centres = 3 + rng.standard_normal((20, DIMENSION))
    every = centres[rng.integers(20, size=rows + QUERIES)] + 0.3 * rng.standard_normal((rows + QUERIES, DIMENSION))
    return every[:rows].astype(np.float32), every[rows:].astype(np.float32)


def truth(bank: NDArray[np.float32], queries: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the true neighbours, in float64."""
    similarity = unit(queries.astype(np.float64)) @ unit(bank.astype(np.float64)).T
    return np.argsort(-similarity, axis=1)[:, :K]


def unit(vectors: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the vectors at length 1."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


if __name__ == "__main__":
    main()

"""Time of a study of 60 settings after embedding: 5 poolings, 12 back-ends, 1000 rows and 200 clips at D = 768.

python benchmarks/study.py [--rows 1000] [--clips 200] [--dimension 768]

Fitting, scoring, leave-one-out, decisions at four rates, 1000 resamplings and the tables, as `echobank study` does it.
The rival is a setting in scikit-learn, the mean of NearestNeighbors and LocalOutlierFactor: fit and score, without
leave-one-out, decisions and intervals.
"""

import argparse
import time
from collections import Counter

import numpy as np
from backends import TARGETS, vectors_like_embeddings
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors

from echobank.config import load_config
from echobank.detection.bank import Row, build_bank
from echobank.evaluation.comparison import StudySet, compare, score_set
from echobank.evaluation.grid import parse_grid
from echobank.evaluation.study_table import study_csv, study_markdown

POOLINGS = ("mean", "max", "gem", "rdp", "rdp_gem")
BACKENDS = (
    *("knn", "kmeans", "coreset", "ldn", "varmin", "domain_ld", "domain_z", "domain_conformal"),
    *("mahalanobis", "gmm", "pca", "min_fusion"),
)


def study_set(rows, clips, dimension, seed):
    """Return a bank, and labelled clips of which half are off by a little, as one pooling would give them."""
    vectors = vectors_like_embeddings(rows + clips, seed)[:, :, :dimension]
    facts = [Row(f"{i:04}", "m", domain="target" if i >= rows - TARGETS else "source") for i in range(rows)]
    queries, anomaly = vectors[rows:].copy(), np.arange(clips) % 2 == 1
    queries[anomaly] += 0.5 * vectors[: anomaly.sum()]
    domains = np.array([("source", "target")[i // 2 % 2] for i in range(clips)])
    return StudySet(build_bank(vectors[:rows], facts), queries, tuple(f"{i}" for i in range(clips)), anomaly, domains)


def rival(data):
    """Return the seconds that one setting takes in scikit-learn: fit and score."""
    flat, asked = data.bank.vectors[:, 0], data.vectors[:, 0]
    start = time.perf_counter()
    NearestNeighbors(n_neighbors=1, algorithm="brute", metric="cosine").fit(flat).kneighbors(asked)
    LocalOutlierFactor(novelty=True, metric="cosine").fit(flat).score_samples(asked)
    return (time.perf_counter() - start) / 2


def main():
    """Print where the time goes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--dimension", type=int, default=768)
    wanted = parser.parse_args()
    sets = {name: study_set(wanted.rows, wanted.clips, wanted.dimension, i) for i, name in enumerate(POOLINGS)}
    cells = parse_grid([f"pooling={','.join(POOLINGS)}", f"backend={','.join(BACKENDS)}", "k=1"], load_config())
    spent = Counter()
    start = time.perf_counter()
    scored = []
    for cell in cells:
        begun = time.perf_counter()
        scored.append([score_set(cell, sets[cell.pooling.name], "gamma")])
        spent[cell.backend.name] += time.perf_counter() - begun
    begun = time.perf_counter()
    results = compare(cells, scored, [sets[POOLINGS[0]]])
    study_csv(results), study_markdown(results, cells[0], [], "study.svg")
    spent["compare and tables"] = time.perf_counter() - begun
    total = time.perf_counter() - start
    for name, seconds in spent.most_common():
        print(f"{name:<24}{seconds:8.2f} s")
    print(f"{len(cells)} settings, {wanted.rows} rows, {wanted.clips} clips, D = {wanted.dimension}: {total:.1f} s")
    print(f"a setting: {total / len(cells):.2f} s; in scikit-learn, fit and score alone: {rival(sets['mean']):.2f} s")


if __name__ == "__main__":
    main()

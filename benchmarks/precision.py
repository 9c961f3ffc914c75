"""What reduced precision costs on real recordings: embeddings, k-NN scores and their ranks against fp32.

    python benchmarks/precision.py --root DIR --weights FILE [--machine ToyCar] [--clips 200]

Takes training clips as the bank and test clips as queries, half each, k = 1 and 3 by cosine, mean pooling of the last
layer. The rival is fp32; "mixed" scores bf16 queries against the fp32 bank, which `infer` refuses to do.
"""

import argparse

import numpy as np
from numpy.typing import NDArray
from recordings import add_recordings
from scipy.stats import spearmanr

from echobank.data.audio import read_clip
from echobank.data.dcase import scan
from echobank.detection.search import nearest
from echobank.models.registry import load_encoder

BATCH = 8


def main() -> None:
    """Embed, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_recordings(parser, "--root", "dcase2023_toycar_half")
    parser.add_argument("--weights", required=True, help="a BEATs checkpoint, or a card's name")
    parser.add_argument("--machine", default="ToyCar")
    parser.add_argument("--clips", type=int, default=200)
    args = parser.parse_args()
    half = args.clips // 2
    recordings = scan(args.root, [args.machine]).recordings
    parts = [[r.path for r in recordings if r.split == split] for split in ("train", "test")]
    chosen = [paths[:: max(1, len(paths) // half)][:half] for paths in parts]
    waves = [[read_clip(path).samples for path in paths] for paths in chosen]
    exact, rounded = ([embed(args.weights, precision, part) for part in waves] for precision in ("fp32", "bf16"))
    a, b = np.concatenate(exact).astype(np.float64), np.concatenate(rounded).astype(np.float64)
    cosine = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    print(f"{len(chosen[0])} clips in the bank, {len(chosen[1])} asked")
    print(f"embeddings: 1 - cos at most {1 - cosine.min():.1e}, median {1 - np.median(cosine):.1e}")
    for k in (1, 3):
        scores = score(exact[0], exact[1], k)
        for name, other in (("bf16", score(rounded[0], rounded[1], k)), ("mixed", score(exact[0], rounded[1], k))):
            rank, off = spearmanr(scores, other).statistic, np.abs(other / scores - 1).max()
            print(f"k = {k}, {name:5}: rank correlation {rank:.6f}, scores differ by {off:.1e}")


def embed(weights: str, precision: str, waves: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return mean tokens float32[N, D]."""
    encoder = load_encoder(weights, precision=precision)
    grids = [grid for i in range(0, len(waves), BATCH) for grid in encoder.tokens(waves[i : i + BATCH])]
    return np.stack([grid.mean(axis=(0, 1), dtype=np.float64) for grid in grids]).astype(np.float32)


def score(bank: NDArray[np.float32], queries: NDArray[np.float32], k: int) -> NDArray[np.float64]:
    """Return the mean cosine distance to the k nearest, float64[Q]."""
    return np.asarray(nearest(queries[:, None], bank[:, None], k)[0].mean(axis=(1, 2)))


if __name__ == "__main__":
    main()

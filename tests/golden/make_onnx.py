"""Makes the outputs of published ONNX encoders again, with onnxruntime alone, or compares the committed ones with them.

DIR holds soundnet_features.onnx and mn04_features.onnx, the files whose SHA-256 `models/weights/cards.py` gives.

python -m tests.golden.make_onnx --graphs DIR            # compare
python -m tests.golden.make_onnx --graphs DIR --write    # write tests/golden/onnx
"""

import argparse
from pathlib import Path

import numpy as np
import onnxruntime

FOLDER = Path(__file__).with_name("onnx")
WAVES = Path(__file__).with_name("beats") / "waves.npz"
LENGTHS = {"soundnet": (160_000, 17_438), "mn04": (160_000,)}  # samples; 17438 give SoundNet its one frame


def main() -> int:
    """Compare, or write with --write; return 1 where a number is further than 1e-4 from the committed one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--graphs", type=Path, required=True, metavar="DIR")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    worst = 0.0
    for name, lengths in LENGTHS.items():
        made = outputs(args.graphs / f"{name}_features.onnx", lengths)
        path = FOLDER / f"{name}.npz"
        if args.write:
            np.savez_compressed(path, **made)
            continue
        committed = np.load(path)
        for key, values in made.items():
            difference = float(np.abs(committed[key] - values).max())
            worst = max(worst, difference)
            print(f"{name:10} {key:20} {difference:.1e}")
    return int(worst > 1e-4)


def outputs(graph: Path, lengths: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Return `features` and `tokens` of the start of `motor_10s`, taken as if it had the encoder's rate."""
    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    (wanted,) = session.get_inputs()
    found = {}
    for length in lengths:
        samples = np.load(WAVES)["motor_10s"][None, :length]
        features, tokens = session.run(["features", "tokens"], {wanted.name: samples})
        found |= {f"{length}/features": features[0], f"{length}/tokens": tokens[0]}
    return found


if __name__ == "__main__":
    raise SystemExit(main())

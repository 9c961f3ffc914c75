"""Makes the references of BEATs again with the official code, or compares the committed ones with it.

    git clone https://github.com/microsoft/unilm
    pip install torchaudio          # of the same release as torch; the official front end needs it
    python -m tests.golden.make_beats --official unilm/beats            # compare
    python -m tests.golden.make_beats --official unilm/beats --write    # write tests/golden/beats

`waves.npz` and `models.json` (settings and salts) are what it starts from; it writes the rest.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.golden.weights_rule import digest, state_dict

FOLDER = Path(__file__).with_name("beats")
KEPT = {"base_rule": {"noise_1s": 1, "motor_10s": 4}}  # every 4th of its time patches: 0.4 MB in place of 1.5 MB
BANDS = 8


def main() -> int:
    """Compare, or write with --write; return 1 where a number differs from the committed one by more than its bound."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--official", type=Path, required=True, metavar="DIR", help="folder beats of microsoft/unilm")
    parser.add_argument("--write", action="store_true", help="write the files of tests/golden/beats")
    args = parser.parse_args()
    sys.path.insert(0, str(args.official))
    models = json.loads((FOLDER / "models.json").read_text("utf-8"))
    waves = dict(np.load(FOLDER / "waves.npz"))
    made = {"logmel": logmels(waves)}
    for name, facts in models.items():
        model = official_model(name, facts)
        made[name] = {}
        for wave in KEPT.get(name, waves):
            made[name] |= {f"{wave}/{key}": value for key, value in answers(model, name, wave, waves[wave]).items()}
    if not args.write:
        within = [compare(file, arrays) for file, arrays in made.items()]
        return int(not all(within))
    for file, arrays in made.items():
        np.savez_compressed(FOLDER / f"{file}.npz", **arrays)
    (FOLDER / "models.json").write_text(json.dumps(models, indent=1) + "\n", "utf-8")
    return 0


def official_model(name: str, facts: dict[str, Any]) -> torch.nn.Module:
    """Return the official model with the weights of the rule; fills in shapes and digest of its weights."""
    from BEATs import BEATs, BEATsConfig  # type: ignore[import-not-found]

    model = BEATs(BEATsConfig(facts["cfg"])).eval()
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    state = state_dict(shapes, facts["salt"])
    model.load_state_dict({key: torch.from_numpy(value) for key, value in state.items()})
    facts["shapes"] = {} if name == "base_rule" else {key: list(shape) for key, shape in shapes.items()}
    facts["sha256"] = digest(state)
    return model


def logmels(waves: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return float32[F, 128] for each wave: what the official front end gives before it is normalised."""
    import torchaudio.compliance.kaldi as kaldi  # type: ignore[import-not-found]

    settings = {"num_mel_bins": 128, "sample_frequency": 16000, "frame_length": 25, "frame_shift": 10}
    return {name: kaldi.fbank(torch.from_numpy(wave)[None] * 2**15, **settings).numpy() for name, wave in waves.items()}


@torch.inference_mode()
def answers(model: Any, name: str, wave: str, samples: np.ndarray) -> dict[str, np.ndarray]:
    """Return the tokens of the last layer [P, D], the mean of every layer [layers, D] and class probabilities."""
    means: list[np.ndarray] = []
    last: list[np.ndarray] = []
    hooks = [
        layer.register_forward_hook(lambda _m, _i, out: means.append(out[0][:, 0].mean(0).numpy().copy()))
        for layer in model.encoder.layers
    ]
    hooks.append(model.encoder.register_forward_hook(lambda _m, _i, out: last.append(out[0][0].numpy().copy())))
    answer, _ = model.extract_features(torch.from_numpy(samples)[None])
    for hook in hooks:
        hook.remove()
    step = KEPT.get(name, {}).get(wave, 1)
    grid = last[0].reshape(-1, BANDS, last[0].shape[1])[::step]
    found = {"final": grid.reshape(-1, grid.shape[2]), "layers_mean": np.stack(means)}
    return found | ({"probs": answer[0].numpy()} if model.predictor is not None else {})


def bound(file: str, key: str) -> float:
    """Return how far processors may be apart; the quiet bins of a pure tone are rounding noise of its loud ones."""
    if file == "logmel":
        return 1.0 if key == "chirp_0p5s" else 2e-3
    return 2e-2 if key.startswith("chirp_0p5s/") else 2e-4


def compare(file: str, arrays: dict[str, np.ndarray]) -> bool:
    """Print how far each array is from the committed one; return whether all are within their bounds."""
    committed = dict(np.load(FOLDER / f"{file}.npz"))
    if committed.keys() != arrays.keys():
        raise SystemExit(f"{file}.npz holds other arrays: {sorted(committed.keys() ^ arrays.keys())}")
    differences = {key: float(np.abs(committed[key] - arrays[key]).max()) for key in arrays}
    for key, value in differences.items():
        print(f"{file:16} {key:24} {value:.1e}  bound {bound(file, key):.0e}")
    return all(value <= bound(file, key) for key, value in differences.items())


if __name__ == "__main__":
    raise SystemExit(main())

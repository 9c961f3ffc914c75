"""Learn a machine from arrays, score arrays, and hear why: nothing but NumPy goes in and out."""

from pathlib import Path
from tempfile import TemporaryDirectory

import soundfile
from pump import RATE, pump

from echobank import Detector

# Twenty-four healthy recordings of four seconds. Without settings, the encoder is BEATs where its weights are at hand,
# else a small one; this one needs no weights at all.
detector = Detector("pump", seconds=2.0, settings=["model.embedding=logmel_stats"])
detector.fit_samples((pump(seed) for seed in range(24)), RATE)

for name, recording in {"healthy": pump(100), "squealing": pump(101, squeal=0.05)}.items():
    for verdict in detector.score_samples(recording, RATE, name):
        called = "ANOMALOUS" if verdict.decision else "normal"
        print(f"{name:>10} {verdict.start:4.1f} s  score {verdict.score:7.3f}  p = {verdict.p_value:.3f}  {called}")

# Sentences need the recording itself, since they are about its seconds and bands.
with TemporaryDirectory() as folder:
    path = Path(folder) / "squealing.wav"
    soundfile.write(path, pump(101, squeal=0.05), RATE)
    print(*detector.explain(path).sentences, sep="\n")

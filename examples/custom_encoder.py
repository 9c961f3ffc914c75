"""An encoder of your own in thirty lines: the level in six octave bands, token by token."""

import numpy as np
from pump import RATE, pump

from echobank import Detector, register_encoder
from echobank.models.encoder import EncoderFacts
from echobank.models.weights.cards import Card

EDGES = np.array([[125.0 * 2**i, 250.0 * 2**i] for i in range(6)])  # Hz
BLOCK = 2048  # samples per token


class OctaveLevels:
    """Tokens float32[Pt, 1, 6]: levels in dB of six octave bands from 125 Hz, one token every 128 ms."""

    facts = EncoderFacts(
        name="octave_levels", weights_sha256="", sample_rate=RATE, front_end="", dimension=len(EDGES), bands=1,
        layers=1, engine="numpy", token_seconds=BLOCK / RATE,
    )  # fmt: skip
    band_edges_hz = np.array([[EDGES[0, 0], EDGES[-1, 1]]])

    def tokens(self, waveforms, layer=None):
        """Return float32[Pt, 1, 6] of each waveform float32[T]."""
        return [self._levels(np.asarray(waveform, np.float64)) for waveform in waveforms]

    def _levels(self, waveform):
        blocks = np.pad(waveform, (0, -len(waveform) % BLOCK)).reshape(-1, BLOCK)
        power = np.abs(np.fft.rfft(blocks * np.hanning(BLOCK), axis=1)) ** 2
        hz = np.fft.rfftfreq(BLOCK, 1 / RATE)
        bands = [power[:, (hz >= low) & (hz < high)].sum(axis=1) for low, high in EDGES]
        return (10 * np.log10(np.stack(bands, axis=1) + 1e-10)).astype(np.float32)[:, None, :]


CARD = Card("octave_levels", kind="octave_levels", front_end="", dimension=len(EDGES), layers=1, unit="dB")
register_encoder(CARD, lambda card, path, device, precision, compile: OctaveLevels())

if __name__ == "__main__":
    settings = ["model.embedding=octave_levels", "scoring.metric=euclidean"]  # dB are compared as they are
    detector = Detector("pump", seconds=2.0, settings=settings)
    detector.fit_samples(map(pump, range(24)), RATE)
    for name, recording in {"healthy": pump(100), "squealing": pump(101, squeal=0.05)}.items():
        worst = max(detector.score_samples(recording, RATE), key=lambda verdict: verdict.score)
        print(f"{name:>10}: score {worst.score:.2f}, {'anomalous' if worst.decision else 'normal'}")

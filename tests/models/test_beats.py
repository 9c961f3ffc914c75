"""BEATs against numbers made with the official code, and its properties."""

import pytest

pytest.importorskip("torch", reason="no torch")

import numpy as np
import torch

from echobank import load_encoder
from echobank.errors import AudioError, ConfigError, WeightsError
from echobank.models.beats.beats_encoder import LONGEST, BeatsEncoder
from echobank.models.beats.checkpoint import BeatsConfig, Checkpoint, expected_shapes, read_checkpoint
from echobank.models.beats.model import buckets, build, unpack
from echobank.models.logmel import logmel_tensor
from echobank.models.pooling import Pooling, pool, pool_together
from echobank.models.workers import start_workers
from tests.models.reference import TINY, WAVES, arrays, official, rule_weights, tiny_file
from tests.requirements import needs

BASE = BeatsConfig()


@pytest.fixture(scope="module")
def rule():
    state = {key: torch.from_numpy(value) for key, value in rule_weights("base_rule", expected_shapes(BASE)).items()}
    return Checkpoint(BASE, state, "0" * 64)


@pytest.fixture(scope="module")
def base(rule):
    return BeatsEncoder(build(rule.config, rule.state), rule.sha256, "base_rule")


@pytest.fixture(scope="module")
def tiny():
    return load_encoder(tiny_file("tiny_ssl"))


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("wave", WAVES)
def test_tokens_of_every_layer_equal_the_official_ones(name, wave):
    encoder = load_encoder(tiny_file(name))
    waveform, layers = arrays("waves")[wave], range(1, encoder.facts.layers + 1)
    (last,) = encoder.tokens([waveform])
    expected = official(name, wave)
    assert last.shape == (len(expected) // 8, 8, expected.shape[1]) and last.dtype == np.float32
    bound = 2e-4 if wave != "chirp_0p5s" else 2e-2  # a pure tone: bins that are rounding noise reach the tokens
    np.testing.assert_allclose(last.reshape(expected.shape), expected, rtol=0, atol=bound)
    grids = [found[0] for found in encoder.layers_from_logmel([encoder.logmel(waveform)], layers)]
    means = np.stack([grid.mean(axis=(0, 1)) for grid in grids])
    np.testing.assert_allclose(means, official(name, wave, "layers_mean"), rtol=0, atol=bound)
    for layer, grid in zip(layers, grids, strict=True):
        assert np.array_equal(encoder.tokens([waveform], layer=layer)[0], grid)


@pytest.mark.parametrize("name", TINY)
def test_the_model_equals_the_official_one_on_its_spectrograms(name):
    encoder = load_encoder(tiny_file(name))
    raw = [arrays("logmel")[wave] for wave in WAVES]
    for wave, tokens in zip(WAVES, encoder.tokens_from_logmel(raw), strict=True):
        expected = official(name, wave)
        np.testing.assert_allclose(tokens.reshape(expected.shape), expected, rtol=0, atol=2e-5)


def test_class_probabilities_of_a_fine_tuned_file():
    encoder = load_encoder(tiny_file("tiny_finetuned"))
    waves = [wave for wave in WAVES if wave != "chirp_0p5s"]
    for wave, found in zip(waves, encoder.probabilities([arrays("waves")[wave] for wave in waves]), strict=True):
        np.testing.assert_allclose(found, official("tiny_finetuned", wave, "probs"), rtol=0, atol=1e-5)
    with pytest.raises(WeightsError, match="have no classes"):
        load_encoder(tiny_file("tiny_ssl")).probabilities([])


def test_buckets_of_distances_as_the_official_code_has_them():
    distance = [0, 1, 79, 80, 82, 90, 100, 300, 600, 799, 800, 5000]
    ahead = [0, 161, 239, 240, 240, 244, 247, 285, 310, 319, 319, 319]
    behind = [0, 1, 79, 80, 80, 84, 87, 125, 150, 159, 159, 159]
    assert buckets(torch.tensor(distance), BASE).tolist() == ahead
    assert buckets(-torch.tensor(distance), BASE).tolist() == behind


@pytest.mark.parametrize("wave", ["noise_1s", "motor_10s"])
def test_the_full_size_model_equals_the_official_one(base, wave):
    assert sum(p.numel() for p in base.model.parameters()) > 90e6
    logmel = base.logmel(arrays("waves")[wave])
    grids = [found[0] for found in base.layers_from_logmel([logmel], range(1, 13))]
    expected = official("base_rule", wave)
    kept = grids[-1][:: 4 if wave == "motor_10s" else 1]  # the file holds every 4th time patch of the long clip
    np.testing.assert_allclose(kept.reshape(expected.shape), expected, rtol=0, atol=2e-4)
    means = np.stack([grid.mean(axis=(0, 1)) for grid in grids])
    np.testing.assert_allclose(means, official("base_rule", wave, "layers_mean"), rtol=0, atol=2e-4)


def test_bfloat16_keeps_pooled_embeddings(base, rule):
    waves = [arrays("waves")[wave] for wave in ("noise_1s", "odd_3p217s")]
    exact = [grid.mean(axis=(0, 1)) for grid in base.tokens(waves)]
    coarse = BeatsEncoder(build(rule.config, rule.state), rule.sha256, "base_rule", precision="bf16")
    # rounding these random weights alone, all arithmetic in float32, gives 9e-6: most of it is carried back
    for a, grid in zip(exact, coarse.tokens(waves), strict=True):
        b = grid.mean(axis=(0, 1), dtype=np.float64)
        assert 1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b) < 2e-6
    assert coarse.facts.precision == "bf16"


@needs("bf16")
def test_bfloat16_without_a_unit_rounds_where_a_unit_does(base, rule, monkeypatch):
    waves = [arrays("waves")[wave] for wave in ("noise_1s", "odd_3p217s")]
    monkeypatch.setattr("echobank.models.beats.model.bf16_pays", lambda: True)
    by_unit = BeatsEncoder(build(rule.config, rule.state), rule.sha256, "base_rule", precision="bf16")
    monkeypatch.setattr("echobank.models.beats.model.bf16_pays", lambda: False)
    emulated = BeatsEncoder(build(rule.config, rule.state), rule.sha256, "base_rule", precision="bf16")
    assert emulated.facts == by_unit.facts
    first, last = ([encoder.tokens(waves, layer) for encoder in (base, by_unit, emulated)] for layer in (1, 12))
    for exact, a, b in zip(*first, strict=True):  # sums in another order flip single roundings, no more than that
        exact, a, b = (grid.mean(axis=(0, 1), dtype=np.float64) for grid in (exact, a, b))
        assert np.linalg.norm(a - b) < 0.4 * np.linalg.norm(a - exact)
    for _, a, b in zip(*last, strict=True):
        a, b = (grid.mean(axis=(0, 1), dtype=np.float64) for grid in (a, b))
        assert 1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b) < 2e-6


@pytest.mark.parametrize(("precision", "bound"), [("fp32", 2e-5), ("bf16", 5e-2)])
def test_a_processor_without_onednn_gives_the_same_tokens(precision, bound, tiny, monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    plain = load_encoder(tiny_file("tiny_ssl"), precision=precision)
    assert not plain.model.packed and plain.facts.precision == precision
    waves = [arrays("waves")[wave] for wave in WAVES]
    for found, expected in zip(plain.tokens(waves), tiny.tokens(waves), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=bound)
    assert load_encoder(tiny_file("tiny_ssl"), precision="auto").facts.precision == "fp32"


@pytest.mark.parametrize(("precision", "bound"), [("fp32", 2e-5), ("bf16", 5e-2)])
def test_packed_weights_give_what_plain_ones_give(precision, bound):
    checkpoint = read_checkpoint(tiny_file("tiny_ssl"))
    logmels = torch.stack([torch.from_numpy(arrays("logmel")["noise_1s"])] * 3)
    logmels[1] += torch.linspace(-1, 1, logmels.shape[1])[:, None]
    plain, packed = (build(checkpoint.config, checkpoint.state).prepare(precision, processor=p) for p in (False, True))
    assert packed.packed and not plain.packed
    with torch.inference_mode():
        (a,), (b,) = plain(logmels), packed(logmels)
        (alone,) = packed(logmels[1:2])
    np.testing.assert_allclose(a, b, rtol=0, atol=bound)
    np.testing.assert_allclose(b[1:2], alone, rtol=0, atol=1e-5 if precision == "fp32" else bound)


def test_unpacked_weights_are_those_that_were_packed():
    checkpoint = read_checkpoint(tiny_file("tiny_ssl"))
    plain = build(checkpoint.config, checkpoint.state).state_dict()
    for name, tensor in (
        unpack(build(checkpoint.config, checkpoint.state).prepare("fp32", processor=True)).state_dict().items()
    ):
        assert torch.equal(tensor, plain[name]), name


def test_any_mix_of_lengths_gives_what_each_clip_gives_alone(tiny):
    rng = np.random.default_rng(0)
    clips = [rng.standard_normal(n).astype(np.float32) * 0.1 for n in (16000, 48000, 16000, 2800, 17000, 48000)]
    together = tiny.tokens(clips)
    assert [len(grid) for grid in together] == [(1 + (len(c) - 400) // 160) // 16 for c in clips]
    for clip, grid in zip(clips, together, strict=True):
        np.testing.assert_allclose(grid, tiny.tokens([clip])[0], rtol=0, atol=1e-5)
    assert tiny.tokens([]) == []


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("unit", [True, False])
def test_an_embedding_depends_on_its_clip_alone_bit_for_bit(precision, unit, rule, monkeypatch):
    if not unit:
        monkeypatch.setattr("echobank.models.beats.model.bf16_pays", lambda: False)
    encoder = BeatsEncoder(build(rule.config, rule.state), rule.sha256, "base_rule", precision=precision)
    rng, poolings = np.random.default_rng(0), [Pooling(), Pooling("rdp_gem", bands=True)]
    clips = [rng.standard_normal(16000).astype(np.float32) * 0.1 for _ in range(9)]

    def embed(batch):
        return [np.concatenate(vectors) for vectors in encoder.embed(batch, poolings, 3)]

    together = embed(clips)
    with start_workers(2) as workers:  # one thread inside each product, where `together` had all of them
        ways = [clip for share in workers.map(embed, (clips[:1], clips[1:4], clips[4:])) for clip in share]
    assert all(np.array_equal(a, b) for a, b in zip(together, ways, strict=True))


@pytest.mark.parametrize("samples", [1, 399, 1600, 2799])
def test_a_clip_shorter_than_a_patch_is_repeated(tiny, samples):
    clip = np.random.default_rng(0).standard_normal(samples).astype(np.float32) * 0.1
    (grid,) = tiny.tokens([clip])
    assert grid.shape == (1, 8, 96)
    assert np.array_equal(grid, tiny.tokens([np.tile(clip, 3000)[:2800]])[0])


def test_a_long_clip_keeps_every_patch_in_bounded_chunks(tiny):
    clip = np.random.default_rng(0).standard_normal(16000 * 75).astype(np.float32) * 0.1
    logmel = tiny.logmel(clip)
    (grid,) = tiny.tokens([clip])
    patches = len(logmel) // 16
    pieces = -(-patches // LONGEST)
    assert len(grid) == patches and pieces == 3
    start, stop = (patches * i // pieces for i in (1, 2))
    (middle,) = tiny.tokens_from_logmel([logmel[16 * start : 16 * stop]])
    np.testing.assert_allclose(grid[start:stop], middle, rtol=0, atol=1e-5)


def test_silence_is_finite(tiny):
    assert np.isfinite(tiny.tokens([np.zeros(16000, np.float32)])[0]).all()


@pytest.mark.parametrize("bad", [np.full(16000, np.nan), np.zeros(0), np.zeros((2, 16000))])
def test_samples_that_cannot_be_heard_are_refused(tiny, bad):
    with pytest.raises(AudioError):
        tiny.tokens([bad.astype(np.float32)])


@pytest.mark.parametrize("layer", [0, 4, -1])
def test_a_layer_that_is_not_there_names_the_range(tiny, layer):
    with pytest.raises(ConfigError, match="are 1 to 3"):
        tiny.tokens([np.zeros(16000, np.float32)], layer=layer)


@pytest.mark.parametrize("settings", [{"precision": "fp8"}, {"device": "gpu"}, {"device": "meta"}])
def test_an_unknown_device_or_precision_is_named(settings):
    with pytest.raises(ConfigError, match=str(next(iter(settings.values())))):
        load_encoder(tiny_file("tiny_ssl"), **settings)


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "bound"), [("fp32", 2e-5), ("bf16", 5e-2)])
def test_compiled_tokens_are_those_of_the_plain_model(precision, bound, monkeypatch, tmp_path):
    # what is kept from runs with other instructions or another number of threads gives NaN or ends the process
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)  # as on a GPU: no packed weights
    waves = [arrays("waves")["noise_1s"]]  # every other length would be compiled again
    compiled = load_encoder(tiny_file("tiny_ssl"), precision=precision, compile=True)
    assert not compiled.model.packed
    for found, expected in zip(compiled.tokens(waves), load_encoder(tiny_file("tiny_ssl")).tokens(waves), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=bound)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_packed_weights_leave_nothing_to_compile(precision):
    wave = arrays("waves")["noise_1s"]
    found, expected = (load_encoder(tiny_file("tiny_ssl"), precision=precision, compile=c) for c in (True, False))
    assert found.model.packed
    assert np.array_equal(found.tokens([wave])[0], expected.tokens([wave])[0])


def test_embeddings_are_pooled_tokens_wherever_they_are_pooled(tiny):
    poolings = [Pooling(), Pooling("gem", bands=True)]
    waves = [arrays("waves")[wave] for wave in WAVES]
    waves.append(waves[0][::-1].copy())
    expected = [[pool(grid, pooling) for pooling in poolings] for grid in tiny.tokens(waves)]
    logmels = [tiny.logmel(wave) for wave in waves]
    ways = [tiny.embed(waves, poolings), tiny.embed(logmels, poolings)]
    ways += [tiny._pooled([torch.from_numpy(x) for x in heard], poolings, (3,)) for heard in (waves, logmels)]
    for found in ways:
        for clip, wanted in zip(found, expected, strict=True):
            for a, b in zip(clip, wanted, strict=True):
                assert a.dtype == np.float32
                np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)


def test_samples_are_cut_into_the_pieces_that_frames_are(tiny):
    wave = np.random.default_rng(0).standard_normal(16000 * 40).astype(np.float32) * 0.1
    by_samples = tiny._encode([torch.from_numpy(wave)], (3,))[0][0]
    np.testing.assert_allclose(by_samples, tiny.tokens([wave])[0], rtol=0, atol=1e-5)


class Pretended(torch.Tensor):
    """A tensor that says that it is on a GPU, to take the branches that are for one."""

    is_cuda = True


@pytest.mark.parametrize(("precision", "bound"), [("fp32", 2e-5), ("bf16", 5e-2)])
def test_the_way_through_a_gpu_gives_the_same_tokens(precision, bound, tiny):
    checkpoint = read_checkpoint(tiny_file("tiny_ssl"))
    model = build(checkpoint.config, checkpoint.state).prepare(precision)
    waves = [arrays("waves")["noise_1s"], arrays("waves")["motor_10s"][:16000]]
    with torch.inference_mode():
        logmels = logmel_tensor(torch.from_numpy(np.stack(waves)).as_subclass(Pretended))
        (tokens,) = model(logmels)
        pooled = pool_together(tokens.unflatten(1, (-1, 8)), Pooling())
    assert tokens.is_cuda and pooled.is_cuda and not model.packed
    for found, vector, grid in zip(tokens, pooled, tiny.tokens(waves), strict=True):
        np.testing.assert_allclose(found.numpy().reshape(grid.shape), grid, rtol=0, atol=bound)
        np.testing.assert_allclose(vector.numpy(), pool(grid, Pooling()), rtol=0, atol=bound)


@pytest.mark.gpu
@needs("gpu")
@pytest.mark.parametrize(("precision", "bound"), [("fp32", 1e-4), ("bf16", 5e-2)])
def test_a_gpu_gives_the_numbers_of_the_cpu(precision, bound):
    waves = [arrays("waves")[wave] for wave in WAVES]
    gpu = load_encoder(tiny_file("tiny_ssl"), device="cuda", precision=precision)
    cpu = load_encoder(tiny_file("tiny_ssl"))
    for a, b in zip(gpu.tokens(waves), cpu.tokens(waves), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=bound)
    for one, other in zip(gpu.embed(waves, [Pooling()]), cpu.embed(waves, [Pooling()]), strict=True):
        np.testing.assert_allclose(one[0], other[0], rtol=0, atol=bound)

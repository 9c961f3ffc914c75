"""Near minus far: against the formula line by line, and what must hold of any two channels."""

import numpy as np
import pytest

from echobank.data.two_microphones import SIZE, near_minus_far

RATE = 16000
HOP = SIZE // 2


def noise(length, seed, scale=0.1):
    return (scale * np.random.default_rng(seed).standard_normal(length)).astype(np.float32)


def decibels(x):
    return 10 * np.log10(np.mean(x.astype(np.float64) ** 2) + 1e-30)


@pytest.mark.parametrize("length", [1, 2, 700, 1024, 5000, 16001])
def test_a_silent_far_channel_changes_nothing_and_identical_channels_give_silence(length):
    near = noise(length, 0)
    np.testing.assert_allclose(near_minus_far(near, np.zeros_like(near)), near, atol=1e-7)
    assert np.abs(near_minus_far(near, near)).max() < 1e-5 * np.abs(near).max() + 1e-9
    silence = np.zeros(length, np.float32)
    np.testing.assert_array_equal(near_minus_far(silence, silence), silence)


def test_the_scale_is_that_of_the_near_channel():
    near, far = noise(8000, 0), noise(8000, 1)
    once = near_minus_far(near, far)
    for gain in (0.01, 3.0):
        scaled = near_minus_far((gain * near).astype(np.float32), (gain * far).astype(np.float32))
        np.testing.assert_allclose(scaled, gain * once, atol=1e-6 * gain)


def test_it_is_the_formula_line_by_line():
    near, far = noise(4 * SIZE, 2), noise(4 * SIZE, 3)
    near = (near + np.convolve(far, [0.5, 0.2, -0.1])[: len(far)]).astype(np.float32)
    scale = 0.9 / max(np.abs(near).max(), np.abs(far).max())
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(SIZE) / SIZE)
    padded = [np.pad(scale * x.astype(np.float64), SIZE // 2, mode="reflect") for x in (near, far)]
    starts = range(0, len(padded[0]) - SIZE + 1, HOP)
    n = np.arange(SIZE)
    total, weight = np.zeros(len(padded[0])), np.zeros(len(padded[0]))
    lines = np.exp(-2j * np.pi * np.outer(np.arange(SIZE), n) / SIZE)  # the transform by its definition
    c, f = (np.array([lines @ (x[s : s + SIZE] * hann) for s in starts]) for x in padded)
    h = (c * f.conj()).sum(axis=0) / ((abs(f) ** 2).sum(axis=0) + 1e-12)
    for s, spectrum in zip(starts, c - h * f, strict=True):
        total[s : s + SIZE] += (lines.conj() @ spectrum / SIZE).real * hann
        weight[s : s + SIZE] += hann**2
    inside = slice(SIZE // 2, SIZE // 2 + len(near))
    expected = total[inside] / weight[inside] / scale
    np.testing.assert_allclose(near_minus_far(near, far), expected, atol=1e-6)


def test_shared_noise_through_a_fixed_path_falls_and_the_machine_stays():
    length = 10 * RATE
    machine = (0.1 * np.sin(2 * np.pi * 440 * np.arange(length) / RATE)).astype(np.float32)
    far = noise(length, 4, 0.3)
    path = np.convolve(far, [0.0, 0.0, 0.4, 0.2, -0.1, 0.05])[:length].astype(np.float32)
    residual = near_minus_far(machine + path, far)
    kept = (residual @ machine) / (machine @ machine)
    assert abs(20 * np.log10(kept)) < 0.5
    assert decibels(residual - machine) < decibels(path) - 10

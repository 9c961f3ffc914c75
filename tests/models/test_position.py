"""The position convolution: by spectra against taps in float64."""

import pytest

pytest.importorskip("torch", reason="no torch")

import torch
from torch.nn import functional

from echobank.models.beats.position import PositionConvolution


def convolution(taps, size=24, groups=4):
    torch.manual_seed(0)
    return PositionConvolution(size, taps, groups).requires_grad_(False)


@pytest.mark.parametrize("taps", [1, 7, 16, 128])
@pytest.mark.parametrize("tokens", [1, 8, 17, 129, 130, 496, 1000])
def test_spectra_give_what_taps_give(taps, tokens):
    position, x = convolution(taps), torch.randn(2, tokens, 24)
    exact = functional.conv1d(x.double().mT, position.weight.double(), position.bias.double(), 1, taps // 2, 1, 4)
    plain = position(x)
    position.transform()
    for found in (plain, position(x)):
        assert found.shape == x.shape
        torch.testing.assert_close(found.double(), exact[..., :tokens].mT, rtol=0, atol=1e-5)


def test_a_clip_comes_out_the_same_alone_and_after_others():
    position, x = convolution(128), torch.randn(5, 300, 24)
    position.transform()
    assert torch.equal(position(x)[3:4], position(x[3:4]))
    assert torch.equal(position(x.flip(0)).flip(0), position(x))


def test_the_spectrum_is_no_part_of_the_weights():
    position = convolution(16)
    names = set(position.state_dict())
    position.transform()
    assert set(position.state_dict()) == names == {"weight", "bias"}

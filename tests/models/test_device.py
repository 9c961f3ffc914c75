"""Where an encoder runs, and in which arithmetic, on processors with and without units for it."""

import time

import pytest

torch = pytest.importorskip("torch", reason="no torch")

from echobank.errors import ConfigError
from echobank.models import device
from tests.requirements import needs

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def asked_again():
    """Let every test ask the processor, and forget its answer."""
    answers = device._bf16_is_faster, device._pack_and_multiply_works
    for answer in answers:
        answer.cache_clear()
    yield
    for answer in answers:
        answer.cache_clear()


def test_what_was_asked_for_is_not_measured(monkeypatch):
    monkeypatch.setattr(device, "bf16_pays", lambda: pytest.fail("measured"))
    assert device.pick_precision("fp32", CPU) == "fp32"
    assert device.pick_precision("bf16", CPU) == "bf16"
    with pytest.raises(ConfigError, match="fp8"):
        device.pick_precision("fp8", CPU)


@pytest.mark.parametrize(("faster", "chosen"), [(0.5, "bf16"), (0.9, "fp32"), (5.0, "fp32")])
def test_auto_takes_what_was_faster_here(monkeypatch, faster, chosen):
    monkeypatch.setattr(device, "has_packed_products", lambda: True)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    monkeypatch.setattr(device, "_fastest", lambda dtype: faster if dtype == torch.bfloat16 else 1.0)
    assert device.pick_precision("auto", CPU) == chosen


def test_auto_asks_onednn_and_believes_a_no(monkeypatch):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    monkeypatch.setattr(device, "_fastest", lambda dtype: pytest.fail("measured"))
    assert device.pick_precision("auto", CPU) == "fp32"


def test_without_onednn_nothing_is_packed_and_auto_is_fp32(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert not device.has_packed_products()
    assert device.pick_precision("auto", CPU) == "fp32"


@pytest.mark.parametrize("missing", [AttributeError, RuntimeError])
def test_a_library_without_these_products_is_not_asked_for_more(monkeypatch, missing):
    def absent(*args):
        raise missing("no such operator")

    monkeypatch.setattr(device, "packed_weight", absent)
    assert not device.has_packed_products()
    assert device.pick_precision("auto", CPU) == "fp32"


def test_the_race_is_run_once_and_takes_a_moment(monkeypatch):
    start = time.process_time()
    first = device.bf16_pays()
    assert time.process_time() - start < 30
    monkeypatch.setattr(device, "_fastest", lambda dtype: pytest.fail("measured again"))
    assert device.bf16_pays() == first


@needs("bf16")
def test_both_types_of_product_are_timed_here():
    if device.has_packed_products():
        assert all(device._fastest(dtype) > 0 for dtype in (torch.float32, torch.bfloat16))

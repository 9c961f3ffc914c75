"""A bank is scored with what made it, and nothing else."""

import pytest

from echobank.detection.provenance import difference, require_same_maker
from echobank.errors import BankError

MADE = {"encoder": {"name": "beats_base", "dimension": 768, "bands": 8}, "layer": None, "pooling": {"params": {"p": 3}}}


def test_equal_makers_have_no_difference():
    assert difference(MADE, MADE) == ""
    require_same_maker(MADE, MADE, "bank")


def test_the_encoders_name_is_told_before_what_follows_from_it():
    other = {**MADE, "encoder": {"name": "soundnet", "dimension": 256, "bands": 1}}
    with pytest.raises(BankError, match=r"encoder\.name is 'beats_base' in the bank and 'soundnet' here"):
        require_same_maker(MADE, other, "bank")


@pytest.mark.parametrize(
    "change", [{"layer": 3}, {"pooling": {"params": {"p": 4}}}, {"pooling": {"params": {}}}, {"x": 1}]
)
def test_any_difference_is_told_from_either_side(change):
    other = {**MADE, **change}
    assert difference(MADE, other) and difference(other, MADE)

"""A bank is scored with what made it, and nothing else; what it never recorded is accepted, with a notice."""

import dataclasses
import hashlib
import json

import pytest

from echobank.data.channels import Channel
from echobank.errors import BankError, ConfigError
from echobank.models.pooling import Pooling
from echobank.models.provenance import Provenance, WindowGrid, difference, require_same
from tests.headers import facts, joined_header, made

GEM = Pooling("gem", params={"p": 3.0})
MADE = made(pooling=GEM, window=WindowGrid(10.0, 5.0))


def test_equal_provenances_have_no_difference_and_no_notice():
    again = Provenance.from_header(json.loads(json.dumps(MADE.to_header())))
    assert again == MADE and hash(again.unrecorded) == hash(frozenset())
    assert difference(MADE, again) == "" and require_same(MADE, again, "bank") == ()


def test_joined_facts_come_back_with_their_parts():
    joined = joined_header({"a": (2, 3), "b": (1, 5)}, bands=True).provenance
    assert Provenance.from_header(joined.to_header()) == joined


def test_the_encoders_name_is_told_before_what_follows_from_it():
    other = dataclasses.replace(MADE, encoder=facts("soundnet", dimension=256, bands=1))
    with pytest.raises(BankError, match=r"encoder\.name is 'beats_base' in the bank and 'soundnet' here"):
        require_same(MADE, other, "bank")


@pytest.mark.parametrize(
    "change",
    [
        {"layer": 3},
        {"pooling": Pooling("gem", params={"p": 4.0})},
        {"pooling": Pooling()},
        {"resampler": "soxr VHQ"},
        {"channel": Channel(1)},
        {"window": WindowGrid(10.0, 2.0)},
        {"window": None},
        {"encoder": dataclasses.replace(facts(), weights_sha256="cd" * 32)},
        {"encoder": dataclasses.replace(facts(), precision="bf16")},
    ],
)
def test_any_identity_field_is_told_from_either_side_and_changes_the_cache_key(change):
    other = dataclasses.replace(MADE, **change)
    assert difference(MADE, other) and difference(other, MADE)
    assert MADE.cache_key != other.cache_key


@pytest.mark.parametrize("field", ["channel", "layer", "resampler", "encoder.engine", "encoder.weights_sha256"])
def test_what_an_old_bank_never_recorded_is_accepted_with_a_notice(field):
    plain = MADE.to_header()
    branch, _, leaf = field.rpartition(".")
    (plain[branch] if branch else plain).pop(leaf)
    old = Provenance.from_header(plain)
    assert old.to_header() == plain  # and stays unrecorded when the bank is written again
    (notice,) = require_same(old, dataclasses.replace(MADE, channel=MADE.channel), "banks/fan")
    assert field in notice and notice.startswith("banks/fan: ") and "\n" not in notice


def test_a_bank_that_says_nothing_is_refused():
    with pytest.raises(BankError, match="does not say what made it"):
        require_same(None, MADE, "bank")


def test_embeddings_of_the_version_that_did_not_know_the_channel_are_found_again():
    tree = made().to_header()
    del tree["channel"]
    key = hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()[:16]
    assert made().cache_key == key and made(channel=Channel(1)).cache_key != key


@pytest.mark.parametrize("identity", [-1, "left", True, 1.0, None])
def test_a_channel_that_is_none_is_refused(identity):
    with pytest.raises(ConfigError):
        Channel.of(identity)

"""Provenances and headers for tests."""

from echobank.detection.header import BankHeader
from echobank.models.encoder import EncoderFacts
from echobank.models.encoders.joined import JoinedFacts
from echobank.models.pooling import Pooling
from echobank.models.provenance import Provenance


def facts(name="beats_base", *, dimension=768, bands=8):
    return EncoderFacts(name, "ab" * 32, 16000, "kaldi_128", dimension, bands, 12)


def made(name="beats_base", *, pooling=None, **fields):
    return Provenance(facts(name), pooling or Pooling(), **fields)


def joined_header(parts, *, bands):
    """Return the header of a bank of joined encoders, from the name, bands and dimension of each part."""
    known = {name: facts(name, bands=count, dimension=size) for name, (count, size) in parts.items()}
    whole = JoinedFacts("+".join(parts), "", 16000, "", 1, 1, 1, parts=known)
    return BankHeader(Provenance(whole, Pooling(bands=bands)))

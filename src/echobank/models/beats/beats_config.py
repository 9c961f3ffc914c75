"""Sizes of a BEATs model. Needs no torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class BeatsConfig:
    """Sizes of a BEATs model; the defaults are those of BEATs base.

    Attributes:
        embed: Size of a patch embedding.
        layers: Number of transformer layers.
        dimension: D, size of a token.
        hidden: Inner size of the feed-forward part.
        heads: Attention heads.
        patch: Side of a square patch in frames and mel bins.
        position_taps: Kernel of the convolutional position.
        position_groups: Its groups.
        buckets: Buckets of the relative position, both directions together.
        max_distance: Distance in tokens from which on all share a bucket.
        deep_norm: Whether the residual is scaled by (2 layers)^(1/4).
        activation: Name of the feed-forward nonlinearity.
        classes: Classes of a fine-tuned file's predictor; 0 without one.
    """

    embed: int = 512
    layers: int = 12
    dimension: int = 768
    hidden: int = 3072
    heads: int = 12
    patch: int = 16
    position_taps: int = 128
    position_groups: int = 16
    buckets: int = 320
    max_distance: int = 800
    deep_norm: bool = True
    activation: str = "gelu"
    classes: int = 0

"""A level alone is not compared by cosine, whatever asks for it."""

import pytest

from echobank.detection.comparable import require_comparable
from echobank.detection.header import Scoring
from echobank.errors import BankError

PLAIN = {"members": "knn+pca"}
FUSED = {"members": "knn:metric=euclidean+ldn:metric=euclidean"}


@pytest.mark.parametrize("encoder", ["level", "level_thirds", "level+level_octaves"])
@pytest.mark.parametrize(
    "scoring",
    [
        Scoring("knn"),
        Scoring("ldn", params={"K": 16}),
        Scoring("mean_fusion"),
        Scoring("min_fusion", params={"members": "knn+pca"}),
    ],
)
def test_levels_alone_are_refused_with_cosine(encoder, scoring):
    with pytest.raises(BankError, match="in dB") as raised:
        require_comparable(encoder, scoring)
    assert "scoring.metric=euclidean" in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("encoder", "scoring"),
    [
        ("level", Scoring("knn", "euclidean")),
        ("level+level_octaves", Scoring("knn@level")),
        ("level", Scoring("mean_fusion", params=FUSED)),
        ("soundnet+level", Scoring("mean_fusion", params={"members": "ldn@soundnet:K=16+knn@level"})),
        ("soundnet+level", Scoring("knn")),
        ("soundnet", Scoring("knn")),
        ("a file of your own.pt", Scoring("knn")),
    ],
)
def test_everything_else_is_compared(encoder, scoring):
    require_comparable(encoder, scoring)

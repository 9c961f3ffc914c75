"""Taking level out of a scoring: what is left, and what is refused."""

import pytest

from echobank.detection.header import Scoring
from echobank.detection.without_level import without_level
from echobank.errors import ConfigError


def fusion(members):
    return Scoring("mean_fusion", k=1, params={"members": members, "z": "plain"})


@pytest.mark.parametrize(
    ("encoder", "before", "after"),
    [
        ("soundnet", Scoring("ldn", k=1, params={"K": 16}), Scoring("ldn", k=1, params={"K": 16})),
        ("soundnet+spectrum", fusion("knn@soundnet+knn@spectrum"), fusion("knn@soundnet+knn@spectrum")),
        ("soundnet+level", fusion("ldn@soundnet:K=16+knn@level"), Scoring("ldn@soundnet", k=1, params={"K": 16})),
        (
            "soundnet+level",
            fusion("knn@soundnet:k=5:metric=euclidean+knn@level"),
            Scoring("knn@soundnet", "euclidean", 5, {}),
        ),
        (
            "soundnet+spectrum+level_octaves",
            fusion("ldn@soundnet:K=16+mahalanobis@spectrum+knn@level_octaves"),
            fusion("ldn@soundnet:K=16+mahalanobis@spectrum"),
        ),
        ("soundnet+level", Scoring("knn", k=3), Scoring("knn@soundnet", k=3)),
        ("soundnet+level", fusion("knn+ldn:K=4"), fusion("knn@soundnet+ldn@soundnet:K=4")),
        ("soundnet+level", Scoring("knn@soundnet", k=3), Scoring("knn@soundnet", k=3)),
    ],
)
def test_what_is_left(encoder, before, after):
    assert without_level(before, encoder) == after


@pytest.mark.parametrize(
    ("encoder", "before"),
    [
        ("level", Scoring("knn", "euclidean")),
        ("level+level_octaves", fusion("knn@level+knn@level_octaves")),
        ("soundnet+level", fusion("knn@level+ldn@level")),
        ("soundnet+level", Scoring("knn@level")),
        ("soundnet+spectrum+level", Scoring("knn")),
        ("soundnet+level", Scoring("mean_fusion")),
    ],
)
def test_what_is_refused(encoder, before):
    with pytest.raises(ConfigError):
        without_level(before, encoder)

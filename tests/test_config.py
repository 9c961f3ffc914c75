"""Settings: the file equals the defaults, overrides, and errors that say what would have been right."""

from pathlib import Path

import pytest
import yaml

from echobank.config import Config, find_config, load_config, packaged_configs, to_dict, to_yaml, value_of
from echobank.errors import ConfigError

ROOT = Path(__file__).parents[1]


def test_default_file_names_every_key_with_its_default():
    tree = yaml.safe_load((ROOT / "configs/default.yaml").read_text())
    assert tree == to_dict(Config())
    assert load_config(ROOT / "configs/default.yaml") == load_config() == Config()


def test_the_best_published_setting_is_what_was_published():
    """RDP with GeM (gamma 16, p 3) of BEATs_iter3, Euclidean, LDN with K = 1 and VarMin, k = 1 (arXiv 2603.04605)."""
    config = load_config(ROOT / "configs/best.yaml")
    model, scoring = config.model, config.scoring
    assert (model.embedding, model.layer, model.bands, model.k) == ("beats_iter3", None, False, 1)
    assert (model.pooling, model.pooling_params) == ("rdp_gem", {"gamma": 16, "p": 3})
    assert (scoring.backend, scoring.metric, scoring.params) == ("varmin", "euclidean", {"form": "log", "K": 1})
    assert config.train.domain == "source+target" and not config.augmentation.enabled


def test_bands_and_few_targets_are_what_was_published():
    """RDP gamma 4 with bands kept, VarMin K = 4 difference, cosine (arXiv 2603.13749); 96 bands, source covariance."""
    bands, few = load_config("bands"), load_config("few_targets")
    model, scoring = bands.model, bands.scoring
    assert (model.embedding, model.layer, model.bands, model.k) == ("beats_iter3", None, True, 1)
    assert (model.pooling, model.pooling_params) == ("rdp", {"gamma": 4})
    assert (scoring.backend, scoring.metric, scoring.params) == ("varmin", "cosine", {"form": "difference", "K": 4})
    assert (few.model.embedding, few.scoring.backend, few.scoring.metric) == ("spectrum_96", "mahalanobis", "euclidean")
    assert few.scoring.params == {"covariance": "source", "level": "remove"}


@pytest.mark.parametrize(
    ("key", "default"),
    [
        ("train.domain", "source+target"),
        ("model.k", 3),
        ("model.embedding", "beats_base"),
        ("augmentation.snr", (0.0, 10.0, 20.0)),
        ("augmentation.pitch_shift", (-1.0, 1.0)),
        ("output.dir", "results"),
    ],
)
def test_the_missions_keys_keep_their_defaults(key, default):
    assert value_of(load_config(), key) == default


@pytest.mark.parametrize("name", sorted(p.name for p in (ROOT / "configs").glob("*.yaml")))
def test_every_shipped_configuration_loads(name):
    load_config(ROOT / "configs" / name)


def test_overrides_win_and_resolved_settings_read_back_equal(tmp_path):
    config = load_config(None, ["model.k=1", "augmentation.snr=[5]", "data.machines=fan", "scoring.params={a: 2}"])
    assert (config.model.k, config.augmentation.snr, config.data.machines) == (1, (5.0,), ("fan",))
    (tmp_path / "c.yaml").write_text(to_yaml(config))
    assert load_config(tmp_path / "c.yaml") == config


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.kk=1", "did you mean model.k?"),
        ("modle.k=1", "did you mean model"),
        ("model.k=three", "model.k must be a whole number: 'three'"),
        ("model.k=true", "model.k must be a whole number: True"),
        ("model.k=0", "allowed: 1 or more"),
        ("model.bands=1", "must be true or false"),
        ("train.domain=both", "allowed: source+target, source, target"),
        ("decision.false_alarm_rate=1", "between 0 and 1"),
        ("augmentation.pitch_shift=[0]", "not 0"),
        ("data.root=3", "data.root must be text"),
        ("model=3", "'model' is a section of keys"),
        ("model.pooling_params={p: x}", "model.pooling_params.p must be a number: 'x'"),
        ("scoring.params={p: [1]}", "scoring.params.p must be a number, true or false, or text: [1]"),
        ("model.k.x=3", "must be a whole number"),
        ("model.k", "not of the form key=value"),
        ("model.k=[1", "not YAML"),
    ],
)
def test_a_wrong_override_says_what_would_be_right(override, message):
    with pytest.raises(ConfigError) as error:
        load_config(None, [override])
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"[1, 2]", "not a mapping"), (b"a: [", "not YAML"), (b"\xff\xfe\x00", "cannot read"), (b"seed: -1", "seed")],
)
def test_a_wrong_file_is_named(tmp_path, content, message):
    (tmp_path / "bad.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        load_config(tmp_path / "bad.yaml")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml.*No such file"):
        load_config(tmp_path / "nowhere.yaml")


def test_packaged_settings_are_found_by_word_and_by_the_path_of_the_repository_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert {"default", "best", "demo", "spectrum"} <= set(packaged_configs())
    for name in packaged_configs():
        assert load_config(name) == load_config(f"configs/{name}.yaml") == load_config(ROOT / f"configs/{name}.yaml")


def test_a_file_of_the_user_goes_before_a_packaged_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/default.yaml").write_text("model: {k: 7}")
    assert load_config("configs/default.yaml").model.k == 7
    assert load_config("default").model.k == 3
    (tmp_path / "demo").mkdir()  # as `make demo` leaves one
    assert load_config("demo").model.embedding == "auto"
    assert find_config("other/default.yaml").name == "default.yaml" and not find_config("other/default.yaml").exists()
    with pytest.raises(ConfigError, match="one of bands, best"):
        load_config("nothing")

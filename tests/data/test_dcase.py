from pathlib import Path

import pytest

from echobank.data.dcase import Recording, parse_name, scan
from echobank.errors import InputError
from tests.requirements import require


def tree(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def facts(recording: Recording):
    return recording.section, recording.domain, recording.condition, recording.attributes, recording.role


@pytest.mark.parametrize(
    ("name", "split", "wanted"),
    [
        # 2020
        ("normal_id_04_00000012.wav", "train", ("04", "source", "normal", (), "")),
        ("anomaly_id_00_00000000.wav", "test", ("00", "source", "anomaly", (), "")),
        ("id_05_00000007.wav", "test", ("05", "source", "unknown", (), "")),
        # 2021, 2022
        (
            "section_02_target_train_normal_0001_strength_4_ambient.wav",
            "train",
            ("02", "target", "normal", (("strength", "4"), ("ambient", "")), ""),
        ),
        ("section_01_source_test_anomaly_0003.wav", "test", ("01", "source", "anomaly", (), "")),
        ("section_05_test_0199.wav", "test", ("05", "unknown", "unknown", (), "")),
        # 2023 and later
        (
            "section_00_source_train_normal_0000_car_B1_spd_31V_mic_1.wav",
            "train",
            ("00", "source", "normal", (("car", "B1"), ("spd", "31V"), ("mic", "1")), ""),
        ),
        (
            "section_00_target_test_normal_0013_vel_620_ac_0.08.wav",
            "test",
            ("00", "target", "normal", (("vel", "620"), ("ac", "0.08")), ""),
        ),
        (
            "section_00_source_test_anomaly_0022_m-n_W.wav",
            "test",
            ("00", "source", "anomaly", (("m-n", "W"),), ""),
        ),
        ("section_00_source_train_normal_0990_noAttribute.WAV", "train", ("00", "source", "normal", (), "")),
        ("section_00_target_test_anomaly_0001_.wav", "test", ("00", "target", "anomaly", (), "")),
        ("section_00_0007.wav", "test", ("00", "unknown", "unknown", (), "")),
        ("section_00_train_normal_0007.wav", "train", ("00", "source", "normal", (), "")),
        # supplemental, 2025 and 2026
        ("section_00_machine_0001_.wav", "supplemental", ("00", "unknown", "unknown", (), "machine")),
        ("section_00_noise_0099.wav", "supplemental", ("00", "unknown", "unknown", (), "noise")),
        (
            "section_00_source_clean_normal_0001_vel_3.wav",
            "supplemental",
            ("00", "source", "normal", (("vel", "3"),), "clean"),
        ),
    ],
)
def test_names_of_every_edition(name, split, wanted):
    assert facts(parse_name(Path(name), "fan", split)) == wanted


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("recording1.wav", "train"),
        ("section_0_source_train_normal_0001.wav", "train"),
        ("section_00_middle_train_normal_0001.wav", "train"),
        ("section_00_source_train_normal.wav", "train"),
        ("section_00_source_test_normal_0001.wav", "train"),
        ("section_00_machine_0001.wav", "test"),
        ("xsection_00_0001.wav", "test"),
    ],
)
def test_other_names_are_refused(name, split):
    with pytest.raises(InputError, match=name):
        parse_name(Path(name), "fan", split)


CLIPS = ("train/section_00_source_train_normal_0000_a_1.wav", "test/section_00_target_test_anomaly_0000_a_1.wav")


@pytest.mark.parametrize("prefix", ["dev_data/raw/fan", "eval_data/raw/fan", "raw/fan", "dev_data/fan", "fan"])
def test_every_layout_gives_the_same_recordings(tmp_path, prefix):
    tree(tmp_path, *(f"{prefix}/{clip}" for clip in CLIPS))
    dataset = scan(tmp_path)
    assert [r.key for r in dataset.recordings] == [f"fan/{clip}" for clip in sorted(CLIPS)]
    assert dataset.machines == ("fan",) and not dataset.problems
    assert dataset.sections("fan") == dataset.require_train("fan") == ("00",)
    for inside in (tmp_path / prefix, (tmp_path / prefix).parent):
        assert [r.key for r in scan(inside).recordings] == [r.key for r in dataset.recordings]


def test_a_folder_that_is_one_machine_has_its_name_even_as_a_dot(tmp_path, monkeypatch):
    tree(tmp_path, "pump/train/section_00_source_train_normal_0000.wav")
    monkeypatch.chdir(tmp_path / "pump")
    assert scan(".").machines == ("pump",)


def test_development_and_evaluation_data_are_read_together(tmp_path):
    train = "train/section_00_source_train_normal_0000.wav"
    tree(
        tmp_path,
        f"dev_data/raw/fan/{train}",
        "eval_data/raw/fan/train/section_03_source_train_normal_0000.wav",
        f"eval_data/raw/fan/{train}",
        f"eval_data/raw/Polisher/{train}",
        "eval_data/raw/Polisher/test/section_00_0000.wav",
    )
    dataset = scan(tmp_path)
    assert dataset.machines == ("Polisher", "fan")
    assert dataset.sections("fan") == ("00", "03")
    (problem,) = dataset.problems
    assert "same name" in problem.reason and "eval_data" in str(problem.path)
    (blind,) = dataset.select("Polisher", "00", "test")
    assert (blind.domain, blind.condition) == ("unknown", "unknown")


def test_domain_of_the_test_folders_of_2021(tmp_path):
    tree(
        tmp_path,
        "fan/train/section_00_source_train_normal_0000.wav",
        "fan/source_test/section_00_0001.wav",
        "fan/target_test/section_00_0002.wav",
        "fan/target_test/section_00_source_test_normal_0003.wav",
    )
    domains = {r.name: r.domain for r in scan(tmp_path).select("fan", "00", "test")}
    assert domains == {
        "section_00_0001.wav": "source",
        "section_00_0002.wav": "target",
        "section_00_source_test_normal_0003.wav": "source",
    }


def test_renamed_test_clips_stand_for_the_blind_ones(tmp_path):
    tree(
        tmp_path,
        "fan/test/section_00_0001.wav",
        "fan/test_rename/section_00_target_test_anomaly_0001.wav",
        "fan/supplemental/section_00_noise_0001_.wav",
    )
    dataset = scan(tmp_path)
    assert [r.condition for r in dataset.select("fan", "00", "test")] == ["anomaly"]
    assert [r.role for r in dataset.select("fan", "00", "supplemental")] == ["noise"]


def test_what_does_not_belong_is_listed(tmp_path):
    tree(
        tmp_path,
        "fan/train/section_00_source_train_normal_0000.wav",
        "fan/train/section_00_source_train_anomaly_0001.wav",
        "fan/train/holiday.wav",
        "fan/train/section_00_source_train_normal_0002.flac",
        "fan/train/._section_00_source_train_normal_0000.wav",
        "fan/train/readme.txt",
    )
    dataset = scan(tmp_path)
    assert [r.name for r in dataset.recordings] == ["section_00_source_train_normal_0000.wav"]
    assert [(p.path.name, p.reason.split(", ")[1]) for p in dataset.problems] == [
        ("holiday.wav", "the name is not one of a DCASE Task 2 recording: 'holiday.wav'"),
        ("section_00_source_train_anomaly_0001.wav", "an anomaly among the training clips"),
        ("section_00_source_train_normal_0002.flac", "recordings of DCASE Task 2 are .wav and this is .flac"),
    ]


def test_attributes_files_are_joined_and_disagreement_is_told(tmp_path):
    head = "section_00_source_train_normal"
    tree(
        tmp_path, *(f"fan/train/{head}_000{i}" + end for i, end in enumerate(["_v_1.wav", "_v_2.wav", ".wav", ".wav"]))
    )
    tree(tmp_path, f"fan/train/{head}_0004_load_low_x.wav", "fan/train/section_01_source_train_normal_0000.wav")
    (tmp_path / "fan/attributes_00.csv").write_text(
        "file_name,d1p,d1v,d2p,d2v\r\n"
        f"fan/train/{head}_0000_v_1.wav,v,1,,\r\n"
        f"fan/train/{head}_0001_v_2.wav,v,3,,\r\n"
        f"fan/train/{head}_0002.wav,v,4,m-n,W\r\n"
        f"fan/train/{head}_0003.wav,noAttribute,,,\r\n"
        f"fan/train/{head}_0004_load_low_x.wav,load,low_x,,\r\n"
    )
    (tmp_path / "fan/attributes_01.csv").write_text(
        "file_name,d1p,d1v\nfan/train/section_01_source_train_normal_0000.wav,p,q\n"
    )
    (tmp_path / "fan/attributes_02.csv").write_bytes(b"\xff\xfe\x00nonsense")
    dataset = scan(tmp_path)
    assert [r.attributes for r in dataset.select("fan", "00", "train")] == [
        (("v", "1"),),
        (("v", "2"),),
        (("v", "4"), ("m-n", "W")),
        (),
        (("load", "low_x"),),
    ]
    assert dataset.select("fan", "01", "train")[0].attributes == (("p", "q"),)
    csv, disagreement = dataset.problems
    assert csv.path.name == "attributes_02.csv"
    assert "v_2" in disagreement.reason and "v_3" in disagreement.reason and "_0001_" in disagreement.path.name


def test_folders_that_cannot_be_used_are_one_clear_line(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        scan(tmp_path / "absent")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="not a folder"):
        scan(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no machine folder"):
        scan(tmp_path / "empty")
    tree(tmp_path, "bad/fan/train/holiday.wav", "loose/fan/section_00_0001.wav", "only/fan/test/section_00_0001.wav")
    with pytest.raises(InputError, match=r"no usable recordings.*holiday\.wav"):
        scan(tmp_path / "bad")
    with pytest.raises(InputError, match="no machine folder"):
        scan(tmp_path / "loose")
    with pytest.raises(InputError, match="fan has no training clips"):
        scan(tmp_path / "only").require_train("fan")
    with pytest.raises(InputError, match=r"'fna'.*did you mean fan"):
        scan(tmp_path / "only", ["fna"])


def test_only_the_machines_asked_for_are_read(tmp_path):
    tree(tmp_path, *(f"{m}/train/section_00_source_train_normal_0000.wav" for m in ("fan", "valve", "gearbox")))
    assert scan(tmp_path, ["valve", "fan"]).machines == ("fan", "valve")


def test_the_real_data_sets():
    half = scan(require("recordings", "dcase2023_toycar_half"))
    assert not half.problems and half.machines == ("ToyCar",)
    train = half.select("ToyCar", "00", "train")
    assert [sum(r.domain == d for r in train) for d in ("source", "target")] == [165, 10]
    test = half.select("ToyCar", "00", "test")
    for domain in ("source", "target"):
        for condition in ("normal", "anomaly"):
            assert sum((r.domain, r.condition) == (domain, condition) for r in test) == 25
    assert all([name for name, _ in r.attributes] == ["car", "spd", "mic"] for r in half.recordings)
    mini = scan(require("recordings", "dcase2023_mini7"))
    assert len(mini.recordings) == 28 and len(mini.machines) == 7 and not mini.problems
    assert all(r.attributes for r in mini.recordings)

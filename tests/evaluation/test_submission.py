"""What is written is read back, and every fault in a file is named with its file and line."""

import json
import math

import pytest
import yaml

from echobank.cli import main
from echobank.errors import InputError, OutputError
from echobank.evaluation.metrics import evaluate
from echobank.evaluation.package import Author, SystemFacts, write_package
from echobank.evaluation.submission import (
    ScoredClip,
    find_results,
    read_decisions,
    read_scores,
    write_domain_tables,
    write_machine,
)
from echobank.evaluation.truth import load_truth


def dev_clips(count=4):
    return [
        ScoredClip(f"section_00_{domain}_test_{condition}_{i:04d}_noAttribute.wav", domain, score + i / 3, i % 2)
        for i in range(count)
        for domain in ("target", "source")
        for condition, score in (("normal", 0.1), ("anomaly", 0.4))
    ]


def test_scores_come_back_exactly_and_sorted(tmp_path):
    clips = dev_clips()
    paths = write_machine(tmp_path, "ToyCar", "00", clips)
    assert [p.name for p in paths] == [
        "anomaly_score_ToyCar_section_00_test.csv",
        "decision_result_ToyCar_section_00_test.csv",
    ]
    table = read_scores(tmp_path)[("ToyCar", "00")]
    assert table == {clip.file_name: clip.score for clip in clips}
    assert list(table) == sorted(table)
    assert [line.split(",")[0] for line in paths[0].read_text().splitlines()] == list(table)
    assert read_decisions(tmp_path)[("ToyCar", "00")] == {clip.file_name: clip.decision for clip in clips}
    before = [p.read_bytes() for p in paths]
    write_machine(tmp_path, "ToyCar", "00", clips[::-1])
    assert [p.read_bytes() for p in paths] == before


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ([], "no scored clips"),
        ([("a.wav", "source", 1.0, 0), ("a.wav", "source", 2.0, 0)], "twice"),
        ([("a.wav", "source", math.nan, 0)], "not finite"),
        ([("a.wav", "source", math.inf, 0)], "not finite"),
        ([("a.wav", "source", 1.0, 2)], "not 0 or 1"),
        ([("a.wav", "both", 1.0, 0)], "domain"),
    ],
)
def test_impossible_rows_are_not_written(tmp_path, fault, says):
    with pytest.raises(InputError, match=says):
        write_machine(tmp_path, "fan", "00", [ScoredClip(*row) for row in fault])
    assert not list(tmp_path.iterdir())


def test_domain_tables_replace_those_of_an_earlier_run(tmp_path):
    written = write_domain_tables(tmp_path, "fan", dev_clips())
    assert [path.name for path in written] == ["fan_source.csv", "fan_target.csv"]
    lines = written[0].read_text().splitlines()
    assert lines[0] == "file_name,anomaly_score,decision" and len(lines) == 9
    blind = [ScoredClip("section_00_0001.wav", "unknown", 0.5, 1)]
    (tmp_path / "fanbelt_source.csv").write_text("of another machine")
    write_domain_tables(tmp_path, "fan", blind)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fan_unknown.csv", "fanbelt_source.csv"]


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        write_machine(tmp_path / "file" / "results", "fan", "00", dev_clips())


def test_package_has_the_fields_of_the_challenge(tmp_path):
    clips = dev_clips()
    write_machine(tmp_path, "fan", "00", clips)
    scores = read_scores(tmp_path)
    evaluation = evaluate(scores, read_decisions(tmp_path), load_truth(scores))
    facts = SystemFacts(
        "Nearest neighbours",
        "knn",
        (Author("Doe", "Jane", "jane@example.org", affiliation="Example"),),
        embeddings="logmel_stats",
        external_datasets=(("AudioSet", "https://research.google.com/audioset/"),),
    )
    files = write_package(tmp_path, "echobank_1", {("fan", "00"): clips}, facts, evaluation)
    assert {path.parent for path in files} == {tmp_path / "task2" / "echobank_1"}
    meta = yaml.safe_load(files[-1].read_text())
    assert list(meta) == ["submission", "system", "results"]
    assert list(meta["submission"]) == ["label", "name", "abbreviation", "authors"]
    assert list(meta["system"]) == ["description", "complexity", "external_datasets", "source_code"]
    assert meta["system"]["description"]["embeddings"] == "logmel_stats"
    assert len(meta["system"]["description"]) == 14
    result = meta["results"]["development_dataset"]["fan"]
    assert result["auc_source"] == pytest.approx(100 * evaluation.machines[0].source.auc)
    assert list(result) == ["auc_source", "auc_target", "pauc"]
    for label, short in (("a/b", "knn"), ("ok", "far too long")):
        with pytest.raises(InputError):
            write_package(tmp_path, label, {("fan", "00"): clips}, SystemFacts("n", short))


def evaluate_files(tmp_path, scores, *, decisions=None, name="anomaly_score_fan_section_00_test.csv"):
    (tmp_path / name).write_bytes(scores)
    if decisions is not None:
        (tmp_path / "decision_result_fan_section_00_test.csv").write_bytes(decisions)
    return main(["evaluate", "--results", str(tmp_path)])


GOOD = b"section_00_source_test_normal_0000_.wav,0.1\nsection_00_source_test_anomaly_0000_.wav,0.9\n"


@pytest.mark.parametrize(
    ("scores", "says"),
    [
        (GOOD + b"section_00_source_test_normal_0000_.wav,0.2\n", "line 3: a clip comes twice"),
        (GOOD + b"section_00_source_test_normal_0001_.wav,nan\n", "line 3: section_00_source_test_normal_0001_.wav"),
        (GOOD + b"section_00_source_test_normal_0001_.wav,-inf\n", "not finite"),
        (
            GOOD + b"section_00_source_test_normal_0001_.wav,high\n",
            "line 3: section_00_source_test_normal_0001_.wav: not a",
        ),
        (GOOD + b"section_00_source_test_normal_0001_.wav\n", "line 3: expected two columns"),
        (GOOD + b"section_00_source_test_normal_0001_.wav,1,2\n", "found 3"),
        (b"", "no rows"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"section_00_0001.wav,0.4\n", "blind"),
        (b"holiday.wav,0.4\n", "holiday.wav"),
        (GOOD.replace(b"anomaly", b"normal").replace(b"normal_0000", b"normal_0007", 1), "anomalous"),
    ],
)
def test_faulty_score_files_are_one_line_with_file_and_line(tmp_path, capsys, scores, says):
    assert evaluate_files(tmp_path, scores) == 2
    message = capsys.readouterr().err
    assert says in message and message.count("\n") == 1 and "bug" not in message
    if b"normal_0007" not in scores:
        assert "anomaly_score_fan_section_00_test.csv" in message


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(b",", b";").replace(b"0.", b"0,"),  # LibreOffice and Excel, decimal comma
        lambda text: text.replace(b",", b";"),
        lambda text: text.replace(b"0.", b"0,"),
        lambda text: text.replace(b",", b"\t").replace(b"0.", b"0,"),
        lambda text: text.replace(b"0.1", b'"0,1"').replace(b"0.9", b'"0,9"'),
        lambda text: text.replace(b".wav,0.", b".wav;1,"),
        lambda text: text.replace(b",0.", b";0,").replace(b"section", b"'section"),
    ],
)
def test_a_table_of_another_locale_is_refused_with_what_to_write(tmp_path, capsys, change):
    assert evaluate_files(tmp_path, change(GOOD)) == 2
    message = capsys.readouterr().err
    assert "line 1" in message and "a point in numbers, as in name.wav,0.53" in message
    assert not (tmp_path / "evaluation.csv").exists()


def test_decisions_of_another_locale_and_headers_are_refused_too(tmp_path, capsys):
    decisions = GOOD.replace(b",0.1", b";0,0").replace(b",0.9", b";1,0")
    assert evaluate_files(tmp_path, GOOD, decisions=decisions) == 2
    assert "as in name.wav,0.53" in capsys.readouterr().err
    assert evaluate_files(tmp_path, b"file_name,anomaly_score\n" + GOOD) == 2
    assert "line 1: not the name of a recording: 'file_name'; the first column" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("decisions", "says"),
    [
        (
            GOOD.replace(b"0.1", b"0").replace(b"0.9", b"yes"),
            "line 2: section_00_source_test_anomaly_0000_.wav: expected 0 or 1",
        ),
        (
            b"section_00_source_test_normal_0000_.wav,0\n",
            "a clip is missing: 'section_00_source_test_anomaly_0000_.wav'",
        ),
    ],
)
def test_faulty_decisions_are_named(tmp_path, capsys, decisions, says):
    assert evaluate_files(tmp_path, GOOD, decisions=decisions) == 2
    message = capsys.readouterr().err
    assert says in message and "decision_result_fan_section_00_test.csv" in message


def test_windows_files_are_read(tmp_path, capsys):
    text = b"\xef\xbb\xbf" + GOOD.replace(b"\n", b"\r\n") + b"\r\n"
    assert evaluate_files(tmp_path, text) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == "official score: 1.0"
    assert "note: fan section 00: no normal target test clips" in out
    facts = json.loads((tmp_path / "evaluation.json").read_text())
    assert facts["official_score"] == 1.0 and facts["machines"][0]["target"]["auc"] is None
    assert facts["machines"][0]["intervals"]["auc_target"] == [None, None]


def truth_folder(root, machines=("fan",), names=("section_00_0000.wav", "section_00_0001.wav")):
    for kind in ("data", "domain"):
        (root / f"ground_truth_{kind}").mkdir(parents=True)
        for machine in machines:
            path = root / f"ground_truth_{kind}" / f"ground_truth_{machine}_section_00_test.csv"
            path.write_text("".join(f"{name},{i % 2}\n" for i, name in enumerate(names)))
    return root


BLIND = b"section_00_0000.wav,0.1\nsection_00_0001.wav,0.9\n"


@pytest.mark.parametrize(
    ("scores", "machines", "says"),
    [
        (BLIND, ("fan",), ""),
        (BLIND + b"section_00_0002.wav,1\n", ("fan",), "not in the truth: 'section_00_0002.wav'"),
        (BLIND[:24], ("fan",), "missing: 'section_00_0001.wav'"),
        (BLIND, ("valve",), "anomaly_score_valve_section_00_test.csv"),
        (BLIND, ("fan", "valve"), "no scores: 'anomaly_score_valve_section_00_test.csv'"),
    ],
)
def test_scores_are_joined_with_official_truth_by_name(tmp_path, capsys, scores, machines, says):
    truth = truth_folder(tmp_path / "truth", machines)
    (tmp_path / "anomaly_score_fan_section_00_test.csv").write_bytes(scores)
    code = main(["evaluate", "--results", str(tmp_path), "--truth", str(truth)])
    captured = capsys.readouterr()
    assert says in captured.err and code == (2 if says else 0)


def test_results_are_found_in_the_package_and_never_guessed(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        find_results(tmp_path / "nowhere")
    with pytest.raises(InputError, match="run infer first"):
        find_results(tmp_path)
    write_machine(tmp_path / "task2" / "a_1", "fan", "00", dev_clips())
    assert find_results(tmp_path) == tmp_path / "task2" / "a_1"
    write_machine(tmp_path / "task2" / "a_2", "fan", "00", dev_clips())
    with pytest.raises(InputError, match="a_2"):
        find_results(tmp_path)
    write_machine(tmp_path, "fan", "00", dev_clips())
    assert find_results(tmp_path) == tmp_path


def test_a_machine_without_decisions_among_others_is_an_error(tmp_path):
    write_machine(tmp_path, "fan", "00", dev_clips())
    _, decisions = write_machine(tmp_path, "valve", "00", dev_clips())
    decisions.unlink()
    with pytest.raises(InputError, match="decision_result_valve"):
        read_decisions(tmp_path)

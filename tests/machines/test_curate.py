"""Curation: add, remove, merge, compact, calibrate, diff, undo; a bank is always whole."""

import dataclasses
import json

import numpy as np
import pytest

from echobank.cli import main
from echobank.detection.backends.coreset import greedy_centres
from echobank.detection.bank import load_bank, save_bank
from echobank.detection.leave_one_out import Dropped
from echobank.errors import BankError
from echobank.machines import archive, curate
from echobank.machines.machine import calibrated, calibration_of, open_machine
from echobank.machines.window_sources import WindowSource
from tests.golden.before.backends import unpack
from tests.golden.before.places import HERE
from tests.machines.sounds import hum, write


def bank_command(*words):
    return main(["bank", *map(str, words)])


def test_a_false_alarm_that_is_added_is_normal_and_nothing_else_is_embedded(fitted, bank, monkeypatch):
    strange = fitted / "new" / "bad.wav"
    assert main(["score", str(bank), str(strange)]) == 1
    heard = []
    real = WindowSource.pieces
    monkeypatch.setattr(WindowSource, "pieces", lambda self: heard.append(self.path) or real(self))
    assert bank_command("add", bank, strange) == 0
    assert heard == [strange]
    assert main(["score", str(bank), str(strange)]) == 0
    row = next(row for row in load_bank(archive.bank_file(bank)).rows if row.file == "bad.wav")
    assert row.attributes["added"].startswith("20") and len(row.sha256) == 64


def test_every_change_can_be_undone_to_the_byte(fitted, bank):
    file = archive.bank_file(bank)
    states = [file.read_bytes()]
    assert bank_command("add", bank, fitted / "new") == 0
    states.append(file.read_bytes())
    assert bank_command("remove", bank, "0*.wav") == 0
    states.append(file.read_bytes())
    assert bank_command("compact", bank, "--rows", 30) == 0
    assert bank_command("calibrate", bank, "--far", "10%") == 0
    assert bank_command("undo", bank) == 0
    for state in reversed(states):
        assert bank_command("undo", bank) == 0
        assert file.read_bytes() == state
    assert bank_command("undo", bank) == 2
    assert bank_command("add", bank, fitted / "new") == 0
    assert bank_command("undo", bank) == 0
    assert file.read_bytes() == states[0]


def test_a_kill_between_history_and_bank_leaves_the_old_bank(fitted, bank, monkeypatch):
    before = archive.bank_file(bank).read_bytes()
    monkeypatch.setattr(archive, "save_bank", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        archive.change(bank, lambda old: curate.remove(old, ["00.wav"]), "remove")
    assert archive.bank_file(bank).read_bytes() == before
    with pytest.raises(BankError, match="nothing to undo"):
        archive.undo(bank)


def test_adding_what_is_known_changes_nothing(fitted, bank, capsys):
    before = archive.bank_file(bank).read_bytes()
    assert bank_command("add", bank, fitted / "healthy") == 0
    assert "nothing to change" in capsys.readouterr().out
    assert archive.bank_file(bank).read_bytes() == before


def test_adding_equals_fitting_all_at_once(fitted, tmp_path):
    some, rest = tmp_path / "some", tmp_path / "rest"
    for i, path in enumerate(sorted((fitted / "healthy").glob("*.wav"))):
        folder = some if i % 4 else rest
        folder.mkdir(exist_ok=True)
        (folder / path.name).write_bytes(path.read_bytes())
    main(["fit", str(some), "--machine", "pump", "--out", str(tmp_path), "--window", "2s"])
    bank_command("add", tmp_path / "pump", rest)
    grown, whole = (load_bank(archive.bank_file(p)) for p in (tmp_path / "pump", fitted / "banks" / "pump"))
    assert [row.file for row in grown.rows] == [row.file for row in whole.rows]
    assert np.array_equal(grown.vectors, whole.vectors)
    assert np.array_equal(grown.extras["profile"], whole.extras["profile"])
    np.testing.assert_allclose(grown.own.scores, whole.own.scores, rtol=0, atol=1e-12)
    np.testing.assert_allclose(grown.own.distances, whole.own.distances, rtol=0, atol=1e-12)
    assert np.array_equal(grown.own.nearest, whole.own.nearest)


def test_compact_keeps_the_bound_the_rare_state_and_an_honest_threshold(bank, fitted, tmp_path):
    for i in range(2):
        write(tmp_path / "rare" / f"r{i}.wav", hum(2.0, seed=70 + i, speed=90.0, gain=2))
    assert bank_command("add", bank, tmp_path / "rare", "--tags", "speed=high") == 0
    full = load_bank(archive.bank_file(bank))
    assert bank_command("compact", bank, "--rows", 20) == 0
    small = load_bank(archive.bank_file(bank))
    assert len(small) == 20 and "speed=high" in set(small.domains)
    assert len(calibration_of(small).scores) == len(full)
    machine = open_machine(bank)
    unseen = [write(tmp_path / "u" / f"{i}.wav", hum(2.0, seed=200 + i)) for i in range(40)]
    alarms = [v.decision for heard in machine.listener.hear(unseen) for v in machine.judge(heard)]
    assert np.mean(alarms) <= 0.2
    assert bank_command("add", bank, fitted / "new" / "good.wav") == 0
    assert len(load_bank(archive.bank_file(bank))) == 20


def test_a_recording_that_is_removed_no_longer_calibrates_either(bank, fitted):
    loud = [fitted / "new" / "bad.wav"]
    assert bank_command("add", bank, *loud) == 0
    file = archive.bank_file(bank)
    full = load_bank(file)
    gone = next(row.sha256 for row in full.rows if row.file == "bad.wav")
    kept = [i for i, row in enumerate(full.rows) if row.file != "bad.wav" or row.start == 0.0]
    left_out = Dropped(np.array([9.0, 0.1]), (gone, full.rows[0].group))
    archive.put(bank, calibrated(dataclasses.replace(full.select(np.array(kept)), dropped=left_out)), "test")
    assert calibration_of(load_bank(file)).scores.max() == 9.0
    assert bank_command("remove", bank, "bad.wav") == 0
    left = load_bank(file).dropped
    assert (left.scores.tolist(), left.groups) == ([0.1], (full.rows[0].group,))


def test_merging_keeps_what_compacting_left_out_of_both(bank, fitted, tmp_path):
    for name, patterns in (("one", ["0*.wav"]), ("two", ["1*.wav", "2*.wav"])):
        archive.put(tmp_path / name, load_bank(archive.bank_file(bank)), "copy")
        assert bank_command("remove", tmp_path / name, *patterns) == 0
        assert bank_command("compact", tmp_path / name, "--rows", 10) == 0
    assert bank_command("merge", tmp_path / "one", tmp_path / "two", "--out", tmp_path / "both") == 0
    merged = load_bank(archive.bank_file(tmp_path / "both"))
    whole = load_bank(archive.bank_file(bank))
    assert len(calibration_of(merged).scores) == len(whole)
    assert calibration_of(merged).groups == calibration_of(whole).groups


def test_merge_takes_the_same_recording_once(fitted, bank, tmp_path):
    bank_command("add", bank, fitted / "new")
    assert bank_command("merge", bank, fitted / "banks" / "pump", "--out", tmp_path / "merged") == 0
    assert load_bank(archive.bank_file(tmp_path / "merged")).rows == load_bank(archive.bank_file(bank)).rows


def test_diff_names_what_differs(fitted, bank, capsys):
    bank_command("add", bank, fitted / "new")
    bank_command("remove", bank, "00.wav")
    bank_command("calibrate", bank, "--far", "0.1")
    capsys.readouterr()
    assert bank_command("diff", fitted / "banks" / "pump", bank) == 0
    said = capsys.readouterr().out
    assert "+ bad.wav" in said and "- 00.wav" in said and "false_alarm_rate: None -> 0.1" in said


def test_info_tells_provenance_and_log(bank, fitted, capsys):
    bank_command("add", bank, fitted / "new" / "good.wav")
    capsys.readouterr()
    assert bank_command("info", bank, "--rows", "--log") == 0
    said = capsys.readouterr().out
    assert "revision 2" in said and '"action": "add"' in said and "good.wav\t0\t" in said


def test_info_and_explain_speak_json_too(bank, fitted, capsys):
    assert bank_command("info", bank, "--json", "--rows", "--log") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["machine"], facts["rows"], facts["recordings"], facts["revision"]) == ("pump", 72, 24, 1)
    assert facts["threshold"] > 0 and len(facts["listed"]) == 72 and facts["log"][0]["action"] == "fit"
    assert main(["explain", str(bank), str(fitted / "new" / "bad.wav"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    (region, *_) = said["regions"]
    assert region["low_hz"] < 3000 < region["high_hz"] and region["start"] < 1.1 and region["end"] > 2.4
    assert said["decision"] == 1 and said["score"] > said["threshold"] and "dB louder" in " ".join(said["sentences"])


def test_a_bank_of_an_older_kind_scores_and_says_why_it_cannot_explain(bank, fitted, capsys):
    file = archive.bank_file(bank)
    save_bank(dataclasses.replace(load_bank(file), extras={}), file)
    assert main(["score", str(bank), str(fitted / "new")]) == 1
    capsys.readouterr()
    assert main(["explain", str(bank), str(fitted / "new" / "bad.wav")]) == 2
    assert "fit it again" in capsys.readouterr().err
    assert bank_command("add", bank, fitted / "new" / "bad.wav") == 0


def test_order_of_rows_changes_no_choice(fitted):
    vectors = load_bank(archive.bank_file(fitted / "banks" / "pump")).vectors
    order = np.random.default_rng(0).permutation(len(vectors))
    first = {v.tobytes() for v in vectors[greedy_centres(vectors, 15)]}
    second = {v.tobytes() for v in vectors[order][greedy_centres(vectors[order], 15)]}
    assert first == second


def damaged(file):
    file.write_bytes(file.read_bytes()[:-100])


def of_another_encoder(file):
    bank = load_bank(file)
    made = bank.header.provenance
    other = dataclasses.replace(made, encoder=dataclasses.replace(made.encoder, dimension=7))
    save_bank(dataclasses.replace(bank, header=dataclasses.replace(bank.header, provenance=other)), file)


def of_a_challenge(file):
    bank = load_bank(file)
    made = dataclasses.replace(bank.header.provenance, window=None)
    save_bank(dataclasses.replace(bank, header=dataclasses.replace(bank.header, provenance=made)), file)


def newer(file):
    file.write_bytes(file.read_bytes().replace(b'\\"schema\\": 3', b'\\"schema\\": 9'))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (damaged, "damaged"),
        (of_another_encoder, "encoder.dimension is 7 in the bank and 256 here"),
        (of_a_challenge, "not a bank of an own machine"),
        (newer, "newer echobank"),
        (lambda file: file.unlink(), "cannot read the bank"),
    ],
)
def test_a_bank_that_cannot_be_used_says_why(fitted, bank, capsys, change, message):
    change(archive.bank_file(bank))
    for words in (["score", bank, fitted / "new"], ["bank", "add", bank, fitted / "new"], ["watch", bank, bank]):
        assert main([str(word) for word in words]) == 2
        err = capsys.readouterr().err
        assert message in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["remove", "nothing*"], "no recording of the bank matches"),
        (["remove", "*"], "nothing would be left"),
        (["compact", "--rows", "1"], "two rows or more"),
        (["calibrate", "--far", "0.0001"], "support a false-alarm rate"),
    ],
)
def test_a_change_that_cannot_be_made_leaves_the_bank(bank, capsys, words, message):
    before = archive.bank_file(bank).read_bytes()
    assert bank_command(words[0], bank, *words[1:]) == 2
    assert message in capsys.readouterr().err
    assert archive.bank_file(bank).read_bytes() == before


def test_another_operating_state_for_a_known_recording_is_refused(fitted, bank, capsys):
    assert bank_command("add", bank, fitted / "healthy" / "00.wav", "--tags", "load=high") == 2
    assert "another operating state" in capsys.readouterr().err


def test_a_bank_of_an_older_schema_is_changed_and_had_back_to_the_byte(tmp_path, capsys):
    file = tmp_path / "pump" / "bank.safetensors"
    file.parent.mkdir()
    unpack(HERE, "own_pump", file)
    before = file.read_bytes()
    assert b'\\"schema\\": 2' in before
    name = load_bank(file).rows[0].file
    assert bank_command("remove", file.parent, name) == 0
    assert b'\\"schema\\": 3' in file.read_bytes() and archive.revision_of(load_bank(file)) == 2
    assert bank_command("undo", file.parent) == 0
    assert file.read_bytes() == before
    capsys.readouterr()
    assert bank_command("info", file.parent, "--log") == 0  # what it does not remember is searched now
    assert "revision 1" in capsys.readouterr().out

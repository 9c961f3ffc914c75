"""The journal: what is whole stays, what is torn goes."""

import pytest

from echobank.errors import InputError, OutputError
from echobank.journal import Journal, read_journal
from tests.machines.sounds import full_disk


def records(path):
    return [record for _, record in read_journal(path)]


def test_every_torn_byte_is_recovered_from(tmp_path):
    path = tmp_path / "j"
    with Journal(path) as journal:
        for i in range(3):
            journal.append({"file": f"ä{i}\udcff", "n": i})
    whole = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == 10]
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        expected = sum(end <= cut for end in ends)
        assert len(records(path)) == expected
        with Journal(path) as journal:
            journal.append({"n": 9})
        assert [record["n"] for record in records(path)] == [*range(expected), 9]


def test_offsets_resume_where_they_say(tmp_path):
    with Journal(tmp_path / "j", durable=True) as journal:
        for i in range(5):
            journal.append({"n": i})
    for offset, record in list(read_journal(tmp_path / "j")):
        rest = [r["n"] for _, r in read_journal(tmp_path / "j", start=offset)]
        assert rest == list(range(record["n"] + 1, 5))


def test_damage_in_the_middle_is_an_error(tmp_path):
    (tmp_path / "j").write_bytes(b'{"n": 1}\nnot json\n{"n": 2}\n')
    with pytest.raises(InputError, match="damaged"):
        records(tmp_path / "j")


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write the journal"):
        Journal(tmp_path / "file" / "j")


@pytest.mark.parametrize("durable", [False, True])
def test_a_full_disk_leaves_whole_records_and_writing_goes_on_when_there_is_room(tmp_path, durable):
    with Journal(tmp_path / "j", durable=durable) as journal:
        journal.append({"n": 0})
        with full_disk(20), pytest.raises(OutputError, match="disk is not full"):
            journal.append({"n": 1, "long": "x" * 100})
        assert records(tmp_path / "j") == [{"n": 0}]
        journal.append({"n": 2})
    assert records(tmp_path / "j") == [{"n": 0}, {"n": 2}]


def test_one_writer_at_a_time(tmp_path):
    with Journal(tmp_path / "j") as journal:
        journal.append({"n": 0})
        with pytest.raises(OutputError, match="another program is writing"):
            Journal(tmp_path / "j")
        journal.append({"n": 1})
    Journal(tmp_path / "j").close()
    assert records(tmp_path / "j") == [{"n": 0}, {"n": 1}]


def test_one_program_writes_at_a_time_and_leaves_no_lock_behind(tmp_path):
    with Journal(tmp_path / "j") as journal:
        with pytest.raises(OutputError, match="another program is writing"):
            Journal(tmp_path / "j")
        journal.append({"n": 0})
        journal.replace(b'{"n": 7}\n')
        with pytest.raises(OutputError, match="another program is writing"):
            Journal(tmp_path / "j")
        journal.append({"n": 8})
    assert records(tmp_path / "j") == [{"n": 7}, {"n": 8}]
    with Journal(tmp_path / "j") as journal:
        journal.append({"n": 9})
    assert [path.name for path in tmp_path.iterdir()] == ["j"]

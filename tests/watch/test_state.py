"""The state of a watch: journals that earlier versions wrote go on."""

import json

from echobank.watch.state import WatchState

IDENTITY = {"machine": "pump", "folder": "/landing"}
EVENT = {"id": "b0247481", "file": "0.wav", "opened": "2026-11-26T01:12:56.310+00:00", "peak": 0.224, "windows": 1}
OLD = (  # as version 1.2 wrote it
    '{"machine": "pump", "folder": "/landing", "generation": "b107", "seen": {"9.wav": "1-1"}, '
    '"state": {"recent": [], "event": null}}\n'
    '{"file":"0.wav","stamp":"128044-1000","state":{"recent":[0.21,0.22,0.22],"event":'
    f'{json.dumps(EVENT)}}},"messages":[]}}\n'
)


def test_a_journal_of_before_goes_on(tmp_path):
    (tmp_path / "journal.jsonl").write_text(OLD)
    state = WatchState(tmp_path, IDENTITY, dict)
    assert state.seen == {"9.wav": "1-1", "0.wav": "128044-1000"} and state.generation == "b107"
    assert state.rule.recent == (0.21, 0.22, 0.22) and state.rule.event.to_values() == EVENT
    state.record("1.wav", "7-7", state.rule, [])
    state.close()
    first, second, third = (json.loads(line) for line in (tmp_path / "journal.jsonl").read_text().splitlines())
    assert first["seen"] == {"9.wav": "1-1"}
    assert third == {"file": "1.wav", "stamp": "7-7", "state": second["state"], "messages": []}

"""Old and new outputs side by side: numbers within a tolerance, everything else exactly, wording not at all."""

import csv
import io
import json
import re
from collections.abc import Collection
from typing import Any

import pytest

NUMBER = re.compile(r"(?<![\w./-])-?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\w/]|\.\w)")
TIMES = ("added", "at", "versions")
MEASURED = ("fit_seconds", "score_seconds", "peak_bytes", "id", "time", "file_time", "event")
PROSE = ("sentences",)
NEAREST = ("nearest", "nearest_start", "level_db", "regions", "sentences")
LEVEL = (
    0.3  # dB: the level of a window is that of the samples of the recording, until now of what they were resampled to
)
AUDIO = 1.5e-6  # relative, of what was computed from recordings; SoundNet is summed nearer to the exact value: 1.1e-6
GAMMA = 1e-3  # scipy's fit stops at about 1e-4, and where depends on the last digit of the scores
LEAST = 1e-12  # of a recording that is in the bank the distance is 0 but for rounding


def same_number(old: float, new: float, where: str, rtol: float = AUDIO, atol: float = LEAST) -> None:
    """Fail unless two numbers agree; whole numbers exactly."""
    if isinstance(old, int) or (isinstance(old, float) and old.is_integer() and abs(old) > 1):
        assert new == pytest.approx(old, rel=1e-12), f"{where}: {old!r} before, {new!r} now"
    assert new == pytest.approx(old, rel=rtol, abs=atol), f"{where}: {old!r} before, {new!r} now"


def same_level(old: float, new: float, where: str) -> None:
    """Fail unless two levels in dB differ by no more than what resampling takes away."""
    assert new == pytest.approx(old, abs=LEVEL), f"{where}: {old!r} before, {new!r} now"


def same_flags(old: str, new: str, where: str) -> None:
    """Fail unless a window has the flags of before; those of what a score may miss are new."""
    assert set(new.split("+")) - {"odd_band", "impulses", ""} == set(old.split("+")) - {""}, (
        f"{where}: {old!r}, {new!r}"
    )


def same_cell(old: str, new: str, where: str) -> None:
    """Fail unless two cells of a table agree."""
    if old == new:
        return
    try:
        before, now = float(old), float(new)
    except ValueError:
        pytest.fail(f"{where}: {old!r} before, {new!r} now")
    assert not old.lstrip("-").isdecimal(), f"{where}: {old!r} before, {new!r} now"
    same_number(before, now, where)


def same_table(old: str, new: str, where: str, skip: Collection[str] = ()) -> None:
    """Fail unless every row and column of a CSV is as before; columns may have been added at the end."""
    before, now = (list(csv.reader(io.StringIO(text))) for text in (old, new))
    assert len(now) == len(before), f"{where}: {len(before)} lines before, {len(now)} now"
    titled = not any(cell.replace(".", "").isdecimal() for cell in before[0])
    for i, (was, is_now) in enumerate(zip(before, now, strict=True)):
        assert len(is_now) >= len(was), f"{where}, line {i + 1}: {was} before, {is_now} now"
        for j, (one, other) in enumerate(zip(was, is_now, strict=False)):
            title = before[0][j] if titled and j < len(before[0]) else ""
            if title in skip or title in MEASURED:
                continue
            if title == "error":
                one, other = str(bool(one)), str(bool(other))
            if i and title == "flags":
                same_flags(one, other, f"{where}, line {i + 1}, {title}")
            elif i and title == "level_dbfs" and one and other:
                same_level(float(one), float(other), f"{where}, line {i + 1}, {title}")
            else:
                same_cell(one, other, f"{where}, line {i + 1}, {title or f'column {j + 1}'}")
    if not titled:
        assert {len(row) for row in now} == {len(row) for row in before}, f"{where}: another number of columns"


def same_json(old: Any, new: Any, where: str, skip: Collection[str] = ()) -> None:
    """Fail unless everything of old is in new; new may say more."""
    if isinstance(old, dict):
        assert isinstance(new, dict), f"{where}: {old!r} before, {new!r} now"
        for key, value in old.items():
            assert key in new, f"{where}: {key!r} is gone"
            if key == "error":
                assert bool(value) == bool(new[key]), f"{where}: {key}"
            elif key == "flags" and isinstance(value, str):
                same_flags(value, new[key], f"{where}, {key}")
            elif key == "level_dbfs" and value is not None:
                same_level(value, new[key], f"{where}, {key}")
            elif key in PROSE and key not in skip:
                same_words("\n".join(value), "\n".join(new[key]), where)
            elif key not in TIMES and key not in skip:
                same_json(value, new[key], f"{where}, {key}", skip)
    elif isinstance(old, list):
        assert isinstance(new, list) and len(old) == len(new), f"{where}: {old!r} before, {new!r} now"
        for i, (one, other) in enumerate(zip(old, new, strict=True)):
            same_json(one, other, f"{where}[{i}]", skip)
    elif isinstance(old, int | float) and not isinstance(old, bool) and isinstance(new, int | float):
        same_number(old, new, where)
    else:
        assert old == new, f"{where}: {old!r} before, {new!r} now"


def same_words(old: str, new: str, where: str, rtol: float = AUDIO) -> None:
    """Fail unless every number of a text for people is in the new text, as often as before; words are free."""
    waiting = NUMBER.findall(new)
    for number in NUMBER.findall(old):
        found = next((i for i, text in enumerate(waiting) if _close(number, text, rtol)), None)
        assert found is not None, f"{where}: {number} was printed before\nbefore: {old}\nnow: {new}"
        waiting.pop(found)


def same_difference(old: str, new: str, where: str) -> None:
    """Fail unless `bank diff` names the same recordings and settings, with the same numbers."""
    shape = {NUMBER.sub("#", line) for line in new.splitlines()}
    for line in old.splitlines():
        assert NUMBER.sub("#", line) in shape, f"{where}: {line!r} was printed before\nnow: {new}"
    same_words(old, new, where)


def same_step(old: dict[str, Any], new: dict[str, Any], where: str, skip: Collection[str] = ()) -> None:
    """Fail unless a command came to the same: exit code, tables, and what it printed."""
    where = f"{where}: echobank {' '.join(old['command'])}"
    assert new["code"] == old["code"], f"{where}: exit code {old['code']} before, {new['code']} now: {new['err']}"
    for name, text in old["tables"].items():
        assert name in new["tables"], f"{where}: did not write {name}"
        if name.endswith(".jsonl"):
            lines = ([json.loads(line) for line in table.splitlines()] for table in (text, new["tables"][name]))
            same_json(*lines, f"{where}: {name}", skip)
        else:
            same_table(text, new["tables"][name], f"{where}: {name}", skip)
    out, now = old["out"], new["out"]
    if out.startswith("{"):
        same_json(json.loads(out), json.loads(now), where, skip)
    elif out.startswith("file,"):
        same_table(out, now, where, skip)
    elif old["command"][:2] == ["bank", "diff"]:
        same_difference(out, now, where)
    else:
        same_words(out, now, where, GAMMA if "gamma" in old["command"] else AUDIO)
    if old["command"][0] == "score":
        same_words(old["err"], new["err"], where)


def _close(old: str, new: str, rtol: float) -> bool:
    return old == new or float(new) == pytest.approx(float(old), rel=rtol, abs=LEAST)

"""The project is written in plain, idiomatic technical English; turns that readers stumble over stay out.

The list grows whenever a reader stumbles. A pattern names the turn, and the second text is what to write instead.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
THINGS = (
    "window|clip|recording|machine|row|setting|file|day|minute|second|core|shard|actor|bank|domain|state|variant|way"
)
TURNS = {
    rf"\b(a|one|each) (line|score|row|bank|file|verdict|value|figure|word|vector|task|message) an? ({THINGS})\b": (
        "one line per window"
    ),
    rf"\b(seconds?|milliseconds|ms|bytes|MB|MiB|kB|dB|times) an? ({THINGS})\b": "seconds per clip",
    r"\bcould not be had\b|\bto be had\b": "is not available",
    r"\banew\b": "again, from scratch",
    r"\bsigns? of life\b": "heartbeat",
    r"\b(is|are|was|were|be|been) told\b(?! apart)": "is printed, is reported, knows",
    r"\bfor want of\b": "because ... is missing",
    r"\b(thereof|whereof|hereby|therein|wherein|whereby|hither|thither|nought|lest|shall|ere|nay|perchance)\b": (
        "a word of today"
    ),
    r"\band the like\b": "and similar ...",
    r"\bslip of the hand\b": "mistake",
    r"\b(lie|lies|lay) (there|beside|about)\b": "is, is next to, was there",
    r"\bat one's own risk\b|\bat one stroke\b|\bof late\b|\bon high\b": "a plain word",
    r"\bgo(es|ing)? on (where|from|when)\b": "continues",
    r"\bnever goes? back\b": "a monotonic clock",
    r"\b(once|twice|two|three|four) an? (turn|spin|group|pass|head|clip|window|machine|row|bank)\b": "once per",
    r"\bfor so long\b|\bso lately\b": "for that long, so recently",
    r"\bsurely\b|\ball but the same\b": "certainly, almost the same",
    r"\bbegins? again\b": "starts over, restarts",
    r"\bat the most\b|\bin the mean\b": "at most, on average",
    r"\bhas no business\b|\bearned its keep\b|\bno news\b|\bunsaid\b|\bto speak of\b": "a plain word",
    r"\b(hears?|heard) alike\b|\blet(ting)? go of\b": "with the same encoder, releases",
    r"\b(a|the) mission\b|\bone's own\b": "the reader's machine, the default settings",
    r"\bmakes? bold\b|\bbe it\b|\bso be it\b|\bsave for\b": "a plain word",
}
KINDS = (".py", ".md", ".yaml", ".yml", ".toml", ".html", ".js", ".css", ".service", ".cff", "")
FOLDERS = ("src", "docs", "scripts", "tests", "benchmarks", "configs", ".github", "deploy", "examples")
NOT_OURS = ("vendor", "__pycache__", "node_modules", ".egg-info")


def texts():
    """Return every file that people read, less what others wrote and this list."""
    found = [path for path in ROOT.glob("*") if path.is_file() and path.suffix in KINDS and path.name != "LICENSE"]
    for folder in FOLDERS:
        found += [path for path in (ROOT / folder).rglob("*") if path.is_file() and path.suffix in KINDS]
    return sorted(
        path
        for path in set(found)
        if path != Path(__file__) and not any(part.endswith(NOT_OURS) for part in path.relative_to(ROOT).parts)
    )


def flowing(text):
    """Return text with lines joined, without the marks of comments, so that a turn across two lines is found too."""
    return re.sub(r"\s*\n[ \t]*(?:#|//|\*)?[ \t]*", " ", text)


@pytest.mark.parametrize(("turn", "instead"), TURNS.items())
def test_no_text_has_a_turn_that_readers_stumble_over(turn, instead):
    pattern = re.compile(turn, re.IGNORECASE)
    hits = []
    for path in texts():
        text = flowing(path.read_text("utf-8", errors="replace"))
        for hit in pattern.finditer(text):
            around = text[max(hit.start() - 40, 0) : hit.end() + 40]
            hits.append(f"{path.relative_to(ROOT)}: ... {around} ...")
    assert not hits, f"write {instead!r} instead:\n" + "\n".join(hits)


@pytest.mark.parametrize(
    "sentence",
    [
        "It prints a line a window.",
        "The weights could not be had.",
        "The run is begun anew.",
        "A sign of life every minute.",
        "Medians are told.",
        "It takes 12 ms a clip.",
        "The file lies beside the bank.",
    ],
)
def test_the_list_finds_what_it_is_for(sentence):
    assert any(re.search(turn, sentence, re.IGNORECASE) for turn in TURNS)


def test_everything_that_people_read_is_looked_at():
    names = {path.relative_to(ROOT).as_posix() for path in texts()}
    assert {"README.md", "CHANGELOG.md", "docs/architecture.md", "src/echobank/cli/score.py", "Makefile"} <= names
    assert not [name for name in names if "vendor" in name]

"""The page of a checkup: one HTML file without scripts, for people; findings first, then what they rest on."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from echobank.machines.checkup.checkup import Checkup
from echobank.machines.checkup.finding import GOOD, NOTE, WARNING, CheckupFinding, date_of
from echobank.storage import write_text
from echobank.version import __version__

_TITLES = {"good": "The bank is as it was", "look": "Something needs a look", "too little": "Too little to say"}
_SIGNS = {WARNING: "Needs a look", NOTE: "Worth knowing", GOOD: "As it should be"}
_WIDTH, _HEIGHT, _LEFT = 760, 130, 56
_MOST_POINTS = 1500
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem; color: #1c2326; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
article { border-left: 4px solid #9aa5a9; padding: .2rem 0 .2rem 1rem; margin: 1rem 0; }
article.warning { border-color: #b3261e; } article.good { border-color: #2e7d32; }
.sign { font-size: .8rem; text-transform: uppercase; letter-spacing: .04em; color: #55636a; }
ul { margin: .3rem 0; } svg { width: 100%; height: auto; } text { font: 11px system-ui, sans-serif; fill: #55636a; }
.quiet { color: #55636a; font-size: .9rem; }
@media (prefers-color-scheme: dark) { body { background: #14191b; color: #dfe5e7; } text { fill: #a7b3b8; } }
"""


def write_checkup(path: Path | str, checkup: Checkup) -> None:
    """Write the page, whole or not at all.

    Raises:
        OutputError: It cannot be written.
    """
    write_text(path, page_of(checkup))


def page_of(checkup: Checkup) -> str:
    """Return the page as HTML."""
    name, title = escape(checkup.machine), _TITLES[checkup.verdict]
    span = f"{date_of(checkup.first)} to {date_of(checkup.last)}" if checkup.windows else "nothing heard yet"
    parts = [
        f"<h1>{name}: {title}</h1>",
        f"<p class=quiet>{span}; {checkup.windows} windows; made {date_of(checkup.made)} by echobank {__version__}. "
        f"Times are UTC. All tests give at most {checkup.false_alarms:g} false alarms per year, on average.</p>",
        *(_article(finding) for finding in checkup.findings),
        "<h2>Day by day</h2>",
        *_charts(checkup),
    ]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Checkup of {name}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>'
        f"<body>{''.join(parts)}</body></html>\n"
    )


def sentence(text: str) -> str:
    """Return text as a sentence of its own."""
    return f"{text[0].upper()}{text[1:]}." if text else ""


def lines_of(checkup: Checkup) -> list[str]:
    """Return the checkup as lines for a terminal."""
    span = f"{date_of(checkup.first)} to {date_of(checkup.last)}" if checkup.windows else "nothing heard yet"
    lines = [f"{checkup.machine}: {_TITLES[checkup.verdict].lower()} ({span}, {checkup.windows} windows)"]
    for finding in checkup.findings:
        lines.append(f"[{_SIGNS[finding.level].lower()}] {sentence(finding.sentence)}")
        lines += [f"    {sentence(text)}" for text in finding.evidence]
        lines += [f"    Next: {sentence(finding.next_step)}"] if finding.next_step else []
    return lines


def _article(finding: CheckupFinding) -> str:
    evidence = "".join(f"<li>{escape(sentence(text))}</li>" for text in finding.evidence)
    listed = f"<ul>{evidence}</ul>" if evidence else ""
    step = f"<p><b>Next:</b> {escape(sentence(finding.next_step))}</p>" if finding.next_step else ""
    sign = f"{_SIGNS[finding.level]}: {escape(finding.about)}"
    text = escape(sentence(finding.sentence))
    return f'<article class="{finding.level}"><div class=sign>{sign}</div><b>{text}</b>{listed}{step}</article>'


def _charts(checkup: Checkup) -> list[str]:
    daily = checkup.daily
    if len(daily.begins) < 2:
        return ["<p>Too few days for a chart.</p>"]
    marks = [(it.since, it.about) for it in checkup.findings if it.since is not None and it.found is not None]
    share = [100 * value for value in daily.share]
    return [
        _chart("Median score", daily.begins, daily.score, marks),
        _chart("Windows above the threshold, %", daily.begins, share, marks),
        _chart("Level, dB of full scale", daily.begins, daily.level, marks),
    ]


def _chart(title: str, times: Sequence[int], values: Sequence[float], marks: Sequence[tuple[int, str]]) -> str:
    """Return a series as a line, with a dashed line at each change, and a text that says the same."""
    every = max(1, -(-len(times) // _MOST_POINTS))
    x, y = np.array(times[::every], float), np.array(values[::every], float)
    x, y = x[np.isfinite(y)], y[np.isfinite(y)]
    if len(y) < 2:
        return ""
    low, high = float(y.min()), float(y.max())
    span, width = max(high - low, 1e-9), max(float(x[-1] - x[0]), 1.0)
    across = _LEFT + (x - x[0]) / width * (_WIDTH - _LEFT - 8)
    down = 12 + (high - y) / span * (_HEIGHT - 36)
    line = " ".join(f"{one:.1f},{two:.1f}" for one, two in zip(across, down, strict=True))
    dashes = "".join(
        f'<line x1="{at:.1f}" x2="{at:.1f}" y1="8" y2="{_HEIGHT - 22}" stroke="#b3261e" stroke-dasharray="4 3">'
        f"<title>{escape(about)}</title></line>"
        for at, about in ((_LEFT + (since - x[0]) / width * (_WIDTH - _LEFT - 8), about) for since, about in marks)
        if _LEFT <= at <= _WIDTH
    )
    label = f"{title}: {low:.3g} to {high:.3g} from {date_of(int(x[0]))} to {date_of(int(x[-1]))}"
    return (
        f'<figure><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(label)}">'
        f'<text x="0" y="16">{high:.3g}</text><text x="0" y="{_HEIGHT - 24}">{low:.3g}</text>'
        f'<polyline points="{line}" fill="none" stroke="#2f6f8f" stroke-width="1.3"/>{dashes}'
        f'<text x="{_LEFT}" y="{_HEIGHT - 6}">{date_of(int(x[0]))}</text>'
        f'<text x="{_WIDTH - 70}" y="{_HEIGHT - 6}">{date_of(int(x[-1]))}</text></svg>'
        f"<figcaption class=quiet>{escape(title)}; dashed: where a change begins</figcaption></figure>"
    )

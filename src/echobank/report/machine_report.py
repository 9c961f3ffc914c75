"""One page about recordings of one machine, for people who maintain it: what is odd, when, in which band, how loud."""

import base64
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from echobank.models.logmel import mel_of
from echobank.report.figures import INK, MUTED, SOURCE, TARGET, missing_extra, render
from echobank.storage import write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TEMPLATE = "machine_report.html"
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 360, 190, 40, 34, 8
_COLUMNS = 480
_POINTS = 1500
_BORDERS = 100  # more recordings than that are not parted by lines
_MINUTES_FROM = 300.0  # seconds
_TICKS_HZ = (100, 250, 500, 1000, 2000, 4000, 8000)
_COLOURS = "magma"
_UNIT = re.compile(r"(?<=\d) (?=(?:%|dB|k?Hz|s)(?!\w))")


@dataclass(frozen=True)
class Mark:
    """An odd region on a spectrogram: seconds from its beginning, Hz, and what to call it."""

    start: float
    end: float
    low_hz: float
    high_hz: float
    label: str


@dataclass(frozen=True)
class Excerpt:
    """A stretch of sound to see and hear.

    Attributes:
        title: What it is.
        samples: float32[T].
        rate: Hz.
        start: Where it begins in its recording, seconds.
        level: Level of each bin and frame, dB, float64[F, M].
        frame_seconds: Hop between frames.
        edges_hz: Lower and upper edge of each bin, float64[M, 2], on the mel scale.
        marks: Odd regions.
    """

    title: str
    samples: NDArray[np.float32]
    rate: int
    start: float
    level: NDArray[np.float64]
    frame_seconds: float
    edges_hz: NDArray[np.float64]
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True)
class Case:
    """One odd recording: its description, the odd stretch, and healthy sound beside it."""

    title: str
    sentences: tuple[str, ...]
    odd: Excerpt
    healthy: Excerpt | None


@dataclass(frozen=True)
class Line:
    """One row of the ranked list, as text; `anchor` leads to its case, or is empty."""

    file: str
    place: str
    score: str
    p_value: str
    words: str
    anchor: str


@dataclass(frozen=True)
class MachinePage:
    """The content of the page.

    Attributes:
        title: Heading.
        made: When and by what the page was made, a sentence.
        conclusion: The outcome in one or two sentences.
        alarm: True when something is anomalous.
        scores: Score of each window, in order, float64[W].
        starts: Where each window begins in its recording, seconds, float64[W].
        files: Index of the recording of each window, int64[W].
        threshold: The score above which a window is anomalous.
        ranking: Recordings, the oddest first; of many the oddest alone.
        recordings: Number of all recordings.
        cases: The oddest recordings, explained.
        problems: Why recordings could not be scored or explained; of many the first alone.
        failed: Number of all those.
        health: What the bank holds and supports, one sentence per line.
        settings: Name and value of every setting.
        versions: Name and version of every library.
    """

    title: str
    made: str
    conclusion: tuple[str, ...]
    alarm: bool
    scores: NDArray[np.float64]
    starts: NDArray[np.float64]
    files: NDArray[np.int64]
    threshold: float
    ranking: tuple[Line, ...]
    recordings: int
    cases: tuple[Case, ...]
    problems: tuple[str, ...]
    failed: int
    health: tuple[str, ...]
    settings: tuple[tuple[str, str], ...]
    versions: tuple[tuple[str, str], ...]


def write_machine_report(path: Path | str, page: MachinePage) -> None:
    """Write the page: one HTML file that loads nothing.

    Raises:
        InputError: The libraries of the extra `report` are not installed.
        OutputError: The file cannot be written.
    """
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ModuleNotFoundError as error:
        raise missing_extra(error) from error
    environment = Environment(
        loader=PackageLoader("echobank.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["whole_units"] = _whole_units
    environment.globals.update(spectrogram=spectrogram, audio=audio, level_range=level_range)
    drawn = timeline(page) if len(page.scores) else ""
    write_text(path, environment.get_template(_TEMPLATE).render(page=page, timeline=drawn))


def timeline(page: MachinePage) -> str:
    """Return the score of every window in order as SVG; of many windows, the worst of each stretch.

    Of one recording the windows lie at their times in it, of several side by side.
    """
    step = -(-len(page.scores) // _POINTS)
    first = np.arange(0, len(page.scores), step)
    worst = np.maximum.reduceat(page.scores, first)
    odd = worst > page.threshold
    borders = np.flatnonzero(np.diff(page.files))
    if len(borders):
        where, words = first.astype(np.float64), "windows, in order; upright lines part recordings"
    else:
        where, words = page.starts[first], "seconds"
        if where[-1] > _MINUTES_FROM:
            where, words = where / 60, "minutes"

    def draw(axes: "Axes") -> None:
        for border in borders if len(borders) <= _BORDERS else ():
            axes.axvline(border + 0.5, color=MUTED, linewidth=0.4, alpha=0.5)
        axes.plot(where, worst, color=SOURCE, linewidth=1)
        axes.plot(where[~odd], worst[~odd], "o", color=SOURCE, markersize=3, label="as usual")
        axes.plot(where[odd], worst[odd], "D", color=TARGET, markersize=5, label="anomalous")
        axes.axhline(page.threshold, color=INK, linewidth=1.2, linestyle=(0, (5, 3)), label="alarm threshold")
        axes.set_xlabel(words)
        axes.set_ylabel("anomaly score")
        axes.locator_params(axis="y", nbins=4)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, handletextpad=0.3, columnspacing=1.0)

    label = f"Anomaly score of {len(page.scores)} windows; {int((page.scores > page.threshold).sum())} above threshold"
    return render(draw, (5.0, 2.6), label)


def spectrogram(excerpt: Excerpt, low_db: float, high_db: float) -> str:
    """Return a spectrogram as SVG: a picture, axes in seconds and Hz, and a frame around each odd region."""
    seconds = len(excerpt.level) * excerpt.frame_seconds
    wide, high = _WIDTH - _LEFT - 6, _HEIGHT - _TOP - _BOTTOM

    def x(seconds_in: float) -> float:
        return _LEFT + wide * min(max(seconds_in / seconds, 0.0), 1.0)

    def y(hz: float) -> float:
        return _TOP + high * (1 - _height(hz, excerpt.edges_hz))

    picture = _picture(excerpt.level, low_db, high_db)
    label = escape(f"Spectrogram, {excerpt.title}" + "".join(f"; {mark.label}" for mark in excerpt.marks))
    parts = [
        f'<svg class="spectrogram" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">',
        f'<image x="{_LEFT}" y="{_TOP}" width="{wide}" height="{high}" preserveAspectRatio="none" href="{picture}"/>',
    ]
    for hz in (hz for hz in _TICKS_HZ if excerpt.edges_hz[0, 0] <= hz <= excerpt.edges_hz[-1, 1]):
        text = f"{hz / 1000:g} kHz" if hz >= 1000 else f"{hz} Hz"
        parts.append(f'<text x="{_LEFT - 3}" y="{y(hz) + 3.5:.1f}" text-anchor="end">{text}</text>')
    for tick in _ticks(excerpt.start, seconds):
        where = x(tick - excerpt.start)
        text = f"{tick:g}" if excerpt.start < 60 else f"{int(tick // 60)}:{tick % 60:02.0f}"
        parts.append(f'<text x="{where:.1f}" y="{_TOP + high + 12}" text-anchor="middle">{text}</text>')
    unit = "seconds" if excerpt.start < 60 else "minutes and seconds"
    parts.append(f'<text x="{_LEFT + wide / 2}" y="{_HEIGHT - 6}" text-anchor="middle">{unit}</text>')
    for number, mark in enumerate(excerpt.marks, 1):
        left, right, top, bottom = x(mark.start), x(mark.end), y(mark.high_hz), y(mark.low_hz)
        box = f'x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{max(bottom - top, 2):.1f}"'
        time = f'data-start="{excerpt.start + mark.start:.3f}" data-end="{excerpt.start + mark.end:.3f}"'
        band = f'data-low="{mark.low_hz:.1f}" data-high="{mark.high_hz:.1f}"'
        parts.append(f'<rect class="halo" {box}/><rect class="mark" {box} {time} {band}>')
        parts.append(f"<title>{escape(mark.label)}</title></rect>")
        parts.append(f'<text class="number" x="{left + 4:.1f}" y="{max(top, _TOP) + 11:.1f}">{number}</text>')
    return "".join([*parts, "</svg>"])


def audio(excerpt: Excerpt) -> str:
    """Return the sound as a FLAC data URI; quiet sound is made louder, and never clipped."""
    peak = float(np.abs(excerpt.samples).max())
    stream = io.BytesIO()
    soundfile.write(stream, excerpt.samples * (0.9 / peak if peak else 1.0), excerpt.rate, format="FLAC")
    return f"data:audio/flac;base64,{base64.b64encode(stream.getvalue()).decode()}"


def level_range(excerpts: Sequence[Excerpt]) -> tuple[float, float]:
    """Return the levels, dB, at which colours begin and end, the same for sounds that are seen side by side."""
    levels = np.concatenate([excerpt.level.ravel() for excerpt in excerpts])
    low, high = np.percentile(levels, (5, 99.8))
    return float(low), float(max(high, low + 20))


def _picture(level: NDArray[np.float64], low: float, high: float) -> str:
    try:
        from matplotlib import colormaps
        from matplotlib.image import imsave
    except ModuleNotFoundError as error:
        raise missing_extra(error) from error
    step = -(-len(level) // _COLUMNS)
    starts = np.arange(0, len(level), step)
    image = np.maximum.reduceat(level, starts, axis=0).T[::-1]
    colours: Any = colormaps[_COLOURS](np.clip((image - low) / (high - low), 0, 1), bytes=True)
    stream = io.BytesIO()
    imsave(stream, np.ascontiguousarray(colours[..., :3]), format="png")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _whole_units(text: str) -> str:
    """Return text in which no line ends between a number and its unit."""
    return _UNIT.sub("\N{NO-BREAK SPACE}", text)


def _height(hz: float, edges_hz: NDArray[np.float64]) -> float:
    """Return where a frequency lies on the mel axis of a spectrogram, 0 at the bottom, 1 at the top."""
    low, high, value = mel_of(np.array([edges_hz[0, 0], edges_hz[-1, 1], hz]))
    return float(np.clip((value - low) / (high - low), 0.0, 1.0))


def _ticks(start: float, seconds: float) -> list[float]:
    steps = (0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60) if start < 60 else (1, 2, 5, 10, 30, 60)
    step = next((s for s in steps if seconds / s <= 6), 300)
    first = int(np.ceil(start / step - 1e-9))
    return [round(i * step, 3) for i in range(first, int((start + seconds) / step + 1e-9) + 1)]

"""The page of a run: one deterministic file that loads nothing, says what to doubt, and can be read by anyone."""

import json
import re
import subprocess
from html import escape
from html.parser import HTMLParser
from importlib.resources import files

import numpy as np
import pytest

from echobank.cli import main
from echobank.errors import InputError
from echobank.evaluation.intervals import measure_intervals
from echobank.evaluation.metrics import evaluate_labelled
from echobank.evaluation.submission import ScoredClip, write_machine
from echobank.evaluation.truth import LabelledScores
from echobank.report.figures import roc_curve
from echobank.report.run_facts import RunFacts, read_run_facts
from echobank.report.run_report import report_html
from tests.requirements import require


class Page(HTMLParser):
    """Collects what a page holds."""

    void = frozenset({"meta", "link", "br", "path", "use"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.ids, self.links, self.text = [], [], [], ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        facts = dict(attrs)
        self.ids += [facts["id"]] if "id" in facts else []
        self.links += [facts[key] for key in ("href", "src") if key in facts]
        self.open += [] if tag in self.void else [tag]

    def handle_startendtag(self, tag, attrs):
        facts = dict(attrs)
        self.ids += [facts["id"]] if "id" in facts else []
        self.links += [facts[key] for key in ("href", "src") if key in facts]

    def handle_endtag(self, tag):
        if tag not in self.void:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def labelled(machine: str, domains=("source", "target"), decided=True) -> LabelledScores:
    rng = np.random.default_rng(len(machine))
    anomaly = np.arange(40) % 2 == 1
    return LabelledScores(
        machine,
        "00",
        tuple(f"clip_{i:02d}.wav" for i in range(40)),
        rng.normal(size=40) + anomaly,
        rng.integers(0, 2, 40).astype(np.int8) if decided else None,
        anomaly,
        np.array([domains[(i // 2) % len(domains)] for i in range(40)]),
    )


def page(items, facts=None, title="A run"):
    evaluation = evaluate_labelled(items)
    return report_html(evaluation, measure_intervals(items, draws=50), facts or RunFacts(), title)


def test_page_is_whole_the_same_every_time_and_loads_nothing():
    items = [labelled("fan"), labelled("valve", ("source",)), labelled("<b>&bearing", decided=False)]
    html = page(items, title="<script>alert(1)</script>")
    assert html == page(items, title="<script>alert(1)</script>")
    parsed = Page(html)
    assert len(parsed.ids) == len(set(parsed.ids))
    assert all(link.startswith("#") or link == "data:," for link in parsed.links)
    assert {link[1:] for link in parsed.links if link.startswith("#")} <= set(parsed.ids)
    assert not re.search(r"https?://(?!www\.w3\.org)|@import|url\((?!#)|#01020", html)
    assert "<script" not in html and "<b>&" not in html
    assert html.count('role="img"') == 1 + 2 * len(items)
    assert "no normal target test clips" in parsed.text


def test_figures_are_those_of_the_evaluation():
    items = [labelled("fan"), labelled("gearbox")]
    evaluation = evaluate_labelled(items)
    text = Page(page(items)).text
    assert f"{100 * evaluation.official_score:.2f}" in text
    for result in evaluation.machines:
        for value in (result.source.auc, result.target.auc, result.pauc):
            assert f"{100 * value:.2f}" in text
    alarms = (items[0].decisions == 1) & (items[0].domains == "source")
    assert f"{(alarms & ~items[0].anomaly).sum()} of 10" in text


def test_roc_curve_encloses_the_auc():
    item = labelled("fan")
    false_alarms, hits = roc_curve(item.scores, item.anomaly, ~item.anomaly)
    area = np.sum(np.diff(false_alarms) * (hits[1:] + hits[:-1]) / 2)
    assert area == pytest.approx(evaluate_labelled([item]).machines[0].auc, abs=1e-12)
    assert (false_alarms[0], hits[0], false_alarms[-1], hits[-1]) == (0, 0, 1, 1)


def test_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(InputError, match=r"matplotlib.*echobank\[report\]"):
        page([labelled("fan")])


def run_json(folder, root, sha256=""):
    config = {"data": {"root": str(root), "cache": "cache"}}
    encoder = {"name": "logmel_stats", "weights_sha256": sha256}
    stages = {"train": {"skipped": ["bad.wav: truncated"]}, "infer": {"config": config, "encoder": encoder}}
    stages["infer"] |= {"versions": {"numpy": "2.0"}, "skipped": []}
    (folder / "run.json").write_text(json.dumps(stages))


def test_a_reader_is_warned_of_synthetic_sound_and_unknown_weights(tmp_path):
    (tmp_path / "data/dev_data/raw").mkdir(parents=True)
    run_json(tmp_path, tmp_path / "data/dev_data/raw", sha256="ab")
    assert read_run_facts(tmp_path, {"ab"}).warnings == ()
    assert "none that echobank knows" in read_run_facts(tmp_path, {"cd"}).warnings[0]
    (tmp_path / "data/synth.json").write_text("{}")
    facts = read_run_facts(tmp_path, {"ab"})
    assert "synthetic" in facts.warnings[0] and "nothing about real machines" in facts.warnings[0]
    assert facts.skipped == ("train: bad.wav: truncated",)
    html = page([labelled("fan")], facts)
    assert facts.warnings[0] in html and "bad.wav: truncated" in html and "numpy 2.0" in html
    (tmp_path / "run.json").write_text("[")
    with pytest.raises(InputError, match=r"run\.json"):
        read_run_facts(tmp_path, ())


def test_command_writes_the_page_beside_the_results(tmp_path, capsys):
    clips = [
        ScoredClip(f"section_00_{domain}_test_{condition}_{i:04d}.wav", domain, i + (condition == "anomaly"), i % 2)
        for i in range(5)
        for domain in ("source", "target")
        for condition in ("normal", "anomaly")
    ]
    write_machine(tmp_path, "fan", "00", clips)
    run_json(tmp_path, tmp_path)
    assert main(["report", "--results", str(tmp_path), "--title", "Fan"]) == 0
    assert capsys.readouterr().out == f"wrote {tmp_path / 'report.html'}\n"
    assert "<h1>Fan</h1>" in (tmp_path / "report.html").read_text()


def test_page_fits_a_narrow_phone(tmp_path):
    """WCAG 1.4.10 asks for 320 CSS pixels without scrolling sideways."""
    frame = f'<iframe width="320" height="800" srcdoc="{escape(page([labelled("BrushlessMotor")]))}"></iframe>'
    measure = "document.title = document.querySelector('iframe').contentDocument.documentElement.scrollWidth"
    (tmp_path / "frame.html").write_text(f'<meta charset="utf-8"><body onload="{measure}">{frame}')
    browser, _ = require("chromium")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", f"--user-data-dir={tmp_path}"]
    done = subprocess.run([*command, f"file://{tmp_path}/frame.html"], capture_output=True, text=True, timeout=60)
    width = re.search(r"<title>(\d+)</title>", done.stdout)
    assert width, done.stderr
    assert int(width[1]) <= 320


def luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", [0, 1])
def test_colours_meet_wcag_aa_in_both_themes(theme):
    css = (files("echobank.report") / "templates" / "palette.css").read_text()
    colors = dict(re.findall(r"--([\w-]+): (#\w{6});", css.split(":root")[theme + 1]))

    def contrast(a: str, b: str) -> float:
        high, low = sorted((luminance(colors[a]), luminance(colors[b])), reverse=True)
        return (high + 0.05) / (low + 0.05)

    for paper in ("paper", "raised"):
        assert all(contrast(ink, paper) >= 4.5 for ink in ("ink", "muted", "link"))
        assert all(contrast(series, paper) >= 4.5 for series in ("source", "target", "both"))
    assert contrast("ink", "warn") >= 4.5 and contrast("warn-edge", "warn") >= 3

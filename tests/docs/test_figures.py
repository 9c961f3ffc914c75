"""Figures on pages of measurements: each table names what made it, and a summary is computed again from its source."""

import re
from statistics import median

import pytest

from echobank.cli import main
from tests.docs.pages import DOCS, ROOT, pages

BENCHMARKS = ROOT / "benchmarks"
MEASURED = re.findall(
    r"    - [^:\n]+: (\S+\.md)$",
    (ROOT / "mkdocs.yml").read_text().partition("Measurements:")[2].partition("\n  - ")[0],
    re.M,
)
SUMMARIES = {  # sections without a command of their own: computed again below, or formulas
    ("results.md", "## At a glance"),
    ("thresholds.md", "## What each method promises"),
}
PRODUCED = re.compile(r"python \S+\.py|benchmarks/\w+\.py|echobank \w+|\bmake \w+")


def commands():
    """Yield (page, script, options) of each command with a script of the repository."""
    for page in pages():
        text = re.sub(r"\\\n\s*", "", page.read_text("utf-8"))
        for script, rest in re.findall(r"python ((?:benchmarks|scripts|release)/\w+\.py)([^`\n#]*)", text):
            yield pytest.param(script, re.findall(r"(?<!\S)--[\w-]+", rest), id=f"{page.name}: {script}{rest.rstrip()}")


@pytest.mark.parametrize(("script", "options"), list(commands()))
def test_a_script_has_the_options_that_it_is_shown_with(script, options, capsys):
    source = (ROOT / script).read_text()
    command = re.search(r'main\(\["(\w+)"', source)
    if command:  # of echobank
        with pytest.raises(SystemExit):
            main([command[1], "--help"])
        shown = capsys.readouterr().out
        assert [option for option in options if option not in shown] == []
        return
    shared = [BENCHMARKS / f"{name}.py" for name in re.findall(r"^from (\w+) import", source, re.M)]
    source += "".join(file.read_text() for file in shared if file.is_file())
    assert [option for option in options if f'"{option}"' not in source] == []


@pytest.mark.parametrize("page", MEASURED)
def test_every_table_of_figures_names_what_made_it(page):
    sections = re.split(r"(?m)^(?=## )", (DOCS / page).read_text("utf-8"))
    tables = [part for part in sections if re.search(r"(?m)^\|[^\n]*\d[^\n]*\|$", part)]
    unnamed = {(page, part.splitlines()[0]) for part in tables if not PRODUCED.search(part)}
    assert tables and unnamed <= SUMMARIES


def studied(page):
    """Return rows of a study: (pooling, back-end, score, low, high, difference, AUCs, false alarms of two domains)."""
    rows = []
    for line in (DOCS / page).read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) > 8 and re.match(r"\d", cells[2]):
            low, high = map(float, cells[3].split(" to "))
            rows.append((*cells[:2], float(cells[2].split()[0]), low, high, cells[5], *cells[6:9]))
    return rows


GLANCE = (DOCS / "results.md").read_text("utf-8").partition("## At a glance")[2].partition("\n## ")[0]
ROWS = re.findall(r"^\| \[([^\]]+)\]\((results/\w+\.md)\)[^|]*\|(.*)\|$", GLANCE, re.M)
BACKENDS = ("knn", "ldn:K=16", "varmin", "mahalanobis")


@pytest.mark.parametrize(("page", "shown"), [pytest.param(page, shown, id=name) for name, page, shown in ROWS])
def test_the_summary_of_a_study_is_computed_from_its_page(page, shown):
    rows, cells = studied(page), [cell.strip() for cell in shown.split("|")]
    for backend, cell in zip(BACKENDS, cells, strict=False):
        score, low, high = map(float, re.fullmatch(r"([\d.]+) \((\d+)-(\d+)\)", cell).groups())
        found = next(row for row in rows if row[0] == "mean" and row[1] == backend)
        assert [score, low, high] == pytest.approx(found[2:5], abs=0.51) and score == pytest.approx(found[2], abs=0.051)
    assert float(cells[4]) == pytest.approx(median(row[2] for row in rows), abs=0.051)
    assert list(map(float, cells[5].split("-"))) == pytest.approx(
        [min(row[2] for row in rows), max(row[2] for row in rows)], abs=0.051
    )
    beyond = [row[5] for row in rows if "within noise" not in row[5] and row[5] != "reference"]
    count, of = cells[6].split(",")[0].split(" of ")
    assert (0 if count == "none" else int(count), int(of)) == (len(beyond), len(rows))


def test_the_false_alarms_at_a_glance_are_medians_of_the_studies():
    table = GLANCE.partition("source at 1 / 5")[2]
    shown = dict(re.findall(r"^\| ([\w+]+) \| (.*) \|$", table, re.M))
    assert len(shown) == 5
    for name, cells in shown.items():
        rows = studied(f"results/{name.replace('+', '_and_')}.md")
        for column, cell in zip((7, 8), cells.split(" | "), strict=True):
            found = [median(float(row[column].split(" / ")[i]) for row in rows) for i in range(4)]
            assert list(map(float, cell.split(" / "))) == found, (name, found)

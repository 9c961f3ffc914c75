"""Write the page of a run: scores with intervals, distributions, ROC curves, decisions, settings, in one HTML file."""

import argparse
from dataclasses import replace
from pathlib import Path

from echobank.cli.outputs import PAGE, check_output
from echobank.errors import EXIT_OK
from echobank.evaluation.intervals import measure_intervals
from echobank.evaluation.level_alone import level_alone, read_levels
from echobank.evaluation.metrics import evaluate
from echobank.evaluation.submission import find_results, read_decisions, read_scores
from echobank.evaluation.truth import load_truth
from echobank.models.weights.cards import CARDS
from echobank.report.run_facts import read_run_facts
from echobank.report.run_report import write_report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `echobank report`."""
    parser.add_argument("--results", metavar="DIR", required=True, help="output folder of a run")
    parser.add_argument(
        "--truth", metavar="DIR", help="folder with the official ground_truth_data and ground_truth_domain"
    )
    parser.add_argument("--out", metavar="FILE", help="where the page goes (default: report.html in --results)")
    parser.add_argument("--title", metavar="TEXT", default="echobank run", help="heading of the page")


def run(args: argparse.Namespace) -> int:
    """Write the page and say where."""
    out = check_output(args.out or Path(args.results) / "report.html", PAGE, "--out")
    folder = find_results(args.results)
    scores = read_scores(folder)
    truth = load_truth(scores, args.truth)
    evaluation = evaluate(scores, read_decisions(folder), truth)
    level = level_alone(read_levels(folder), scores, truth, evaluation)
    if level:
        evaluation = replace(evaluation, notes=(*evaluation.notes, *level.sentences))
    facts = read_run_facts(args.results, {card.sha256 for card in CARDS.values()})
    write_report(
        out, evaluation=evaluation, intervals=measure_intervals(evaluation.labelled), facts=facts, title=args.title
    )
    print(f"wrote {out}")
    return EXIT_OK

"""Official score of the score CSVs of any system, with the truth from file names or from the official folders.

The last line on stdout is `official score: <fraction>`; `evaluation.csv` and `evaluation.json`
hold every figure, and --json prints the latter instead.
"""

import argparse
from pathlib import Path

from echobank.cli.outputs import CSV, add_json, check_output, refuse_overwriting
from echobank.errors import EXIT_OK
from echobank.evaluation.intervals import measure_intervals
from echobank.evaluation.level_alone import level_alone, read_levels
from echobank.evaluation.metrics import evaluate
from echobank.evaluation.result_table import evaluation_csv, evaluation_facts, evaluation_table
from echobank.evaluation.submission import find_results, read_decisions, read_scores
from echobank.evaluation.truth import load_truth
from echobank.names import to_json
from echobank.storage import write_json, write_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `echobank evaluate`."""
    parser.add_argument("--results", metavar="DIR", required=True, help="folder of anomaly_score_*.csv files")
    parser.add_argument(
        "--truth", metavar="DIR", help="folder with the official ground_truth_data and ground_truth_domain"
    )
    parser.add_argument(
        "--out", metavar="FILE", help="where evaluation.csv goes, evaluation.json beside it (default: into --results)"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Evaluate, print the table, and write every figure."""
    folder = find_results(args.results)
    out = Path(args.out) if args.out else Path(args.results) / "evaluation.csv"
    reads = _tables(folder, Path(args.results), args.truth)
    check_output(out, CSV, "--out", reads)
    refuse_overwriting(out.with_suffix(".json"), "--out", reads)
    scores = read_scores(folder)
    truth = load_truth(scores, args.truth)
    evaluation = evaluate(scores, read_decisions(folder), truth)
    level = level_alone(read_levels(folder), scores, truth, evaluation)
    intervals = measure_intervals(evaluation.labelled)
    write_text(out, evaluation_csv(evaluation, intervals))
    facts = evaluation_facts(evaluation, intervals) | ({"level_alone": level.to_values()} if level else {})
    write_json(out.with_suffix(".json"), facts)
    if args.json:
        print(to_json(facts))
        return EXIT_OK
    print(evaluation_table(evaluation, intervals))
    for sentence in level.sentences if level else ():
        print(sentence)
    print(f"wrote {out}")
    print(f"wrote {out.with_suffix('.json')}")
    print(f"official score: {evaluation.official_score!r}")
    return EXIT_OK


def _tables(folder: Path, results: Path, truth: str | None) -> list[Path]:
    """Return the files that an evaluation must not be written over: scores, decisions, truth, the record of the run."""
    tables = [*folder.glob("anomaly_score_*.csv"), *folder.glob("decision_result_*.csv"), results / "run.json"]
    return [*tables, *(Path(truth).rglob("*.csv") if truth else ())]

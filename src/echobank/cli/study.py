r"""Compare many settings on the same embeddings: official score with intervals, false alarms, time and memory.

--grid takes axis=value,value for the axes pooling, bands, backend, metric and k; parameters follow a colon:

  echobank study --config configs/default.yaml --grid pooling=mean,gem:p=3,rdp k=1,3 backend=knn,ldn

A back-end of joined encoders may look at one of them, and members of a fusion stand in brackets:

  echobank study --set model.embedding=soundnet+spectrum --grid \
      "backend=knn@soundnet,min_fusion:members=(knn@soundnet+mahalanobis@spectrum:metric=euclidean)"
"""

import argparse

from echobank.cli.options import add_config, read_config, report_skipped
from echobank.cli.outputs import add_json
from echobank.cli.progress import bar
from echobank.evaluation.grid import parse_grid
from echobank.evaluation.study_table import study_rows
from echobank.names import to_json
from echobank.pipeline.run import Run
from echobank.pipeline.study import study


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `echobank study`."""
    add_config(parser)
    parser.add_argument(
        "--grid", metavar="AXIS=VALUE,...", nargs="+", action="extend", required=True, help="settings to combine"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Study, and print one line per setting."""
    config = read_config(args)
    studied = study(Run(config, bar), parse_grid(args.grid, config))
    if args.json:
        files = [str(path) for path in studied.files]
        print(to_json({"settings": study_rows(studied.results), "level": studied.level, "files": files}))
        return report_skipped(studied.skipped)
    for result in studied.results:
        if result.evaluation:
            low, high = result.over_clips.low, result.over_clips.high
            interval = f"({100 * low:.1f} to {100 * high:.1f})"
            mark = "  near the best" if result.near_best else ""
            print(f"{100 * result.evaluation.official_score:6.2f} {interval}  {' '.join(result.cell.values)}{mark}")
        else:
            print(f"     -  {' '.join(result.cell.values)}: {result.failure}")
    for sentence in studied.level:
        print(sentence)
    for path in studied.files:
        print(f"wrote {path}")
    return report_skipped(studied.skipped)

"""A study without a notebook: back-ends and numbers of neighbours on a DCASE-style data set, with intervals.

    python examples/compare_settings.py [DATA_ROOT]

Without a folder it makes a small synthetic one. The table, a Markdown page and a figure are written to study_example/.
"""

import sys
from pathlib import Path

from echobank.cli import main

root = sys.argv[1] if len(sys.argv) > 1 else "study_example/data"
if not Path(root).exists():
    main(["synth", "--out", root, "--machines", "fan", "gearbox", "--train-source", "20", "--train-target", "4",
          "--test", "12", "--supplemental", "2", "--seconds", "3", "--workers", "1"])  # fmt: skip
settings = [f"data.root={root}", "data.cache=study_example/cache", "output.dir=study_example/results"]
settings += ["model.embedding=logmel_stats"]
grid = ["backend=knn,ldn:K=4,mahalanobis", "k=1,3"]
code = main(["study", *[word for setting in settings for word in ("--set", setting)], "--grid", *grid])
print("The rows above are official scores in percent with 95 % intervals over clips.")
print("Differences under two points mean nothing, and neither do scores of synthetic machines.")
sys.exit(code)

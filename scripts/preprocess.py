"""Stage one of the main job: `echobank preprocess`."""

import sys

from echobank.cli import main

sys.exit(main(["preprocess", *sys.argv[1:]]))

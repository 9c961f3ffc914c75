"""Stage two of the main job: `echobank train`."""

import sys

from echobank.cli import main

sys.exit(main(["train", *sys.argv[1:]]))

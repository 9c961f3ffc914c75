"""Stage three of the main job: `echobank infer`."""

import sys

from echobank.cli import main

sys.exit(main(["infer", *sys.argv[1:]]))

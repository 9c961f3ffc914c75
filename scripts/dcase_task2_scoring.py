"""Official score of the CSVs of any system: `echobank evaluate`."""

import sys

from echobank.cli import main

sys.exit(main(["evaluate", *sys.argv[1:]]))

"""Fine-tuning before stage two: `echobank finetune`."""

import sys

from echobank.cli import main

sys.exit(main(["finetune", *sys.argv[1:]]))

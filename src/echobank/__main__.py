"""`python -m echobank` is the console command `echobank`."""

import sys

from echobank.cli import main

if __name__ == "__main__":
    sys.exit(main())

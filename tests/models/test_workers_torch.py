"""Worker threads: their arithmetic stays in one thread each, and nobody else notices."""

import subprocess
import sys

import pytest

torch = pytest.importorskip("torch", reason="no torch")

PROGRAM = """
import torch
from echobank.models.workers import single_threaded, start_workers
torch.set_num_threads(3)
square = torch.randn(64, 64)
with start_workers(2) as workers, single_threaded():
    used = [workers.submit(lambda: (square @ square, torch.get_num_threads())[1]).result() for _ in range(4)]
print(used, torch.get_num_threads())
"""


def test_a_limit_that_the_program_gave_torch_is_kept_outside_and_not_inside():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.split("] ") == ["[1, 1, 1, 1", "3\n"]

"""What patches a library for the whole process runs in one of its own."""

import os
import subprocess
import sys
from pathlib import Path


def in_a_process_of_its_own(code: str, folder: Path, *arguments: str) -> None:
    """Run Python code that can import the tests, in `folder`: Unsloth leaves a cache where it runs."""
    here = Path(__file__).parent
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(here.parent), str(here)])}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]

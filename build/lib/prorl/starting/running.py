"""The pipeline as far as mining, for one data set."""

import subprocess
import sys
from pathlib import Path

from prorl.worktrees import environment


def run_to_mining(dataset: str) -> int:
    """Run `dvc repro mine@<dataset>` in the current folder; its exit status. What it prints is seen."""
    sys.stdout.flush()
    command = [sys.executable, "-m", "dvc", "repro", f"mine@{dataset}"]
    return subprocess.run(command, env=environment(Path.cwd()), check=False).returncode

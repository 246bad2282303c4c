"""Git worktrees of the checkout in which the pipeline runs with settings of its own."""

import os
import subprocess
import sys
from pathlib import Path

READ_BY_STAGES = ("dvc.yaml", "params.yaml", "prorl", "stages", ".dvc", ".dvcignore")


class WorktreeError(Exception):
    """A run that cannot start."""


def refuse_uncommitted_changes(root: Path) -> None:
    """Raises `WorktreeError` if what stages read differs from the last commit, which is what a worktree runs."""
    status = git(
        root, "status", "--porcelain", "--untracked-files=all", "--no-renames", "--", *READ_BY_STAGES
    )
    changed = [line[3:] for line in status.splitlines()]
    if changed:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise WorktreeError(
            f"uncommitted changes in {', '.join(changed[:3])}{more}; what runs is the last commit: commit them first"
        )


def environment(worktree: Path) -> dict[str, str]:
    """This process's environment, with this Python's programs first and the worktree's own library instead of
    the checkout's.
    """
    variables = dict(os.environ)
    variables["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), variables["PATH"]])
    variables["PYTHONPATH"] = str(worktree)
    if variables.get("PRORL_ARCHIVES"):
        variables["PRORL_ARCHIVES"] = str(Path(variables["PRORL_ARCHIVES"]).resolve())
    return variables


def git(folder: Path, *arguments: str) -> str:
    """What `git` prints in `folder`. Raises `WorktreeError` with what it says if it fails."""
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise WorktreeError(f"git {arguments[0]}: {done.stderr.strip()}")
    return done.stdout

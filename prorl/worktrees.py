"""Git worktrees of the checkout in which the pipeline runs with settings of its own.

A worktree is brought to a commit of the checkout and keeps what git ignores, data, models and checkpoints, so
that a run goes on from there. One run at a time works in it, with the worktree's own copy of the library.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prorl.files import atomic_file
from prorl.guides.folders import unlisted_guides
from prorl.layout import KEPT, Layout
from prorl.presets import round_trip_yaml

DVC_LOCK = "dvc.lock"
READ_BY_STAGES = ("dvc.yaml", "params.yaml", "prorl", "stages", ".dvc", ".dvcignore")


class WorktreeError(Exception):
    """A run that cannot start."""


def refuse_uncommitted_changes(root: Path, *also: str) -> None:
    """Raises `WorktreeError` if what stages read, or what is in the folders `also`, differs from the last
    commit, which a worktree runs.
    """
    paths = (*READ_BY_STAGES, *also)
    status = git(root, "status", "--porcelain", "--untracked-files=all", "--no-renames", "--", *paths)
    changed = [line[3:] for line in status.splitlines()]
    if changed:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise WorktreeError(
            f"uncommitted changes in {', '.join(changed[:3])}{more}; "
            "what runs is the last commit: commit them first"
        )


def head(root: Path) -> str:
    """The commit that is checked out."""
    return git(root, "rev-parse", "HEAD").strip()


def write_files_of(root: Path, commit: str, paths: list[Path | str], folder: Path) -> None:
    """Write what `commit` has of `paths`, files and folders from `root`, into `folder`."""
    for name in git(root, "ls-tree", "-r", "--name-only", commit, "--", *map(str, paths)).splitlines():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(git(root, "show", f"{commit}:{name}"), encoding="utf-8")


@contextmanager
def alone_in(worktree: Path) -> Iterator[None]:
    """Hold the lock of `worktree`. Raises `WorktreeError` where another process has it."""
    worktree.parent.mkdir(exist_ok=True)
    with open(worktree.with_name(f"{worktree.name}.lock"), "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise WorktreeError(f"another run is at work in {worktree}") from None
        yield


def bring_to(root: Path, worktree: Path, commit: str, kept: tuple[str, ...] = ()) -> None:
    """Bring `worktree` to `commit` of the repository at `root`; make it if need be.

    Files that git does not know stay, and so do those under `kept`, which a new worktree starts without.
    """
    if not (worktree / ".git").exists():
        git(root, "worktree", "add", "--quiet", "--force", "--detach", "--no-checkout", str(worktree), commit)
    others = [f":(exclude,top){path}" for path in kept]
    git(worktree, "restore", "--source", commit, "--staged", "--worktree", "--", ":/", *others)
    git(worktree, "update-ref", "--no-deref", "HEAD", commit)
    git(worktree, "reset", "--quiet", "--mixed")


def share_cache(root: Path, worktree: Path) -> None:
    """Let `worktree` use the DVC cache of the checkout at `root`, and what was fitted and judged there: what
    has run there with the same code, settings and inputs then does not run again.
    """
    dvc(worktree, "config", "--local", "cache.dir", dvc(root, "cache", "dir").strip())
    for kept in KEPT:
        own = worktree / kept
        if not own.exists():
            (root / kept).mkdir(parents=True, exist_ok=True)
            own.parent.mkdir(parents=True, exist_ok=True)
            own.symlink_to((root / kept).resolve())


def share_lock(root: Path, worktree: Path) -> None:
    """Write into the dvc.lock of `worktree` what that of the checkout at `root` says of stages that the
    worktree's lacks, or has with the same command, inputs and settings and other outputs.

    A stage that has given other bits in another run, with more threads say, is in DVC's cache twice, and a
    worktree that knows of neither may take either: so it goes on from the run that the checkout holds.
    """
    theirs, own = root / DVC_LOCK, worktree / DVC_LOCK
    if not theirs.exists():
        return
    yaml = round_trip_yaml()
    ran = yaml.load(theirs)
    lock = yaml.load(own) if own.exists() else {"schema": ran["schema"], "stages": {}}
    for name, stage in ran["stages"].items():
        if name not in lock["stages"] or _asked(lock["stages"][name]) == _asked(stage):
            lock["stages"][name] = stage
    with atomic_file(own) as temporary:
        yaml.dump(lock, temporary)


def _asked(stage: dict) -> dict:
    """What a stage of dvc.lock ran with: all but its outputs."""
    return {key: value for key, value in stage.items() if key != "outs"}


def dvc(folder: Path, *arguments: str) -> str:
    """What `dvc` prints in `folder`. Raises `WorktreeError` with what it says if it fails."""
    done = subprocess.run(
        ["dvc", *arguments], cwd=folder, env=environment(folder), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise WorktreeError(f"dvc {arguments[0]}: {done.stderr.strip()}")
    return done.stdout


def remove_unlisted_guides(worktree: Path, layout: Layout, guides: list[str]) -> None:
    """Remove the folders of guides other than `guides`, which earlier settings have left in `worktree`; DVC's
    cache has them.
    """
    for folder in unlisted_guides(worktree, layout, guides):
        shutil.rmtree(folder)


def environment(worktree: Path) -> dict[str, str]:
    """This process's environment, with this Python's programs and the worktree's own library first.

    The user's own folders of modules stay, for the worktree to find what its settings name.
    """
    variables = dict(os.environ)
    variables["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), variables["PATH"]])
    own = [path for path in variables.get("PYTHONPATH", "").split(os.pathsep) if path]
    variables["PYTHONPATH"] = os.pathsep.join([str(worktree), *(str(Path(path).resolve()) for path in own)])
    if variables.get("PRORL_ARCHIVES"):
        variables["PRORL_ARCHIVES"] = str(Path(variables["PRORL_ARCHIVES"]).resolve())
    return variables


def git(folder: Path, *arguments: str) -> str:
    """What `git` prints in `folder`. Raises `WorktreeError` with what it says if it fails."""
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise WorktreeError(f"git {arguments[0]}: {done.stderr.strip()}")
    return done.stdout

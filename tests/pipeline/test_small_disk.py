"""Stages on a disk that is too small, a tmpfs: one line, no partial file under a final name; with more room
they go on.
"""

import shutil
import subprocess

import pytest

from prorl.files import sha256_of
from tests.pipeline.clones import DATASET, clone_of
from tests.pipeline.test_killed_run import but_curves, checkpoints, hashes, unfinished
from tests.pipeline.test_repeated_run import alone, written_since

WRITING = (
    *("prepare", "mine", "embed", "quantize", "simulator-SASRec", "pretrain", "finetune"),
    *("evaluate", "release", "report"),
)
AMPLE = 2 * 2**30
ROOM = (2**18, 2**21, 2**23)  # bytes that a run of the whole pipeline is given, one after the other


class Disk:
    """A tmpfs at `root`, whose size can be changed."""

    def __init__(self, root):
        self.root = root
        root.mkdir()

    def sized(self, size, kind="remount"):
        """Give it `size` bytes; whether that is allowed."""
        options = [f"size={size}"] if kind == "mount" else ["remount", f"size={size}"]
        command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(self.root)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def leave(self, room):
        """Leave `room` bytes free, more or less: memory comes in pages."""
        assert self.sized(shutil.disk_usage(self.root).used + max(room, 2**14))


@pytest.fixture
def disk(tmp_path, monkeypatch):
    """A disk of its own; skipped where none can be mounted."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")  # what is left is the stage's
    disk = Disk(tmp_path / "disk")
    if not disk.sized(AMPLE, "mount"):
        pytest.skip("a tmpfs cannot be mounted: it needs root")
    yield disk
    subprocess.run(["umount", str(disk.root)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITING)
def test_a_stage_on_a_full_disk_says_so_and_with_more_room_goes_on(pipeline, disk, name):
    whole = pipeline.clone
    clone, command = alone(whole, name, disk.root / "clone")
    given = set(clone.files("data", "models", "reports"))
    disk.leave(0)
    failed = clone.run(*command, check=False)
    assert failed.returncode == 1, failed.stderr
    *_, told = failed.stderr.splitlines()
    assert "no space left" in told
    assert told.endswith("; free some and run again to go on")
    assert "Traceback" not in failed.stderr
    finished = hashes(but_curves(written_since(clone, given)))
    assert finished == {path: sha256_of(whole.root / path) for path in finished}
    assert unfinished(clone) == []
    assert disk.sized(AMPLE)
    clone.run(*command)
    found = hashes(written_since(clone, given))
    assert found == {path: sha256_of(whole.root / path) for path in found}
    assert len(found) > len(finished)
    assert checkpoints(clone) == []


@pytest.mark.slow
def test_the_whole_pipeline_on_a_disk_that_is_too_small_goes_on_with_more_room(pipeline, disk):
    clone = clone_of(pipeline.clone, disk.root / "clone")
    for room in ROOM:
        disk.leave(room)
        failed = clone.run("dvc", "repro", check=False)
        assert failed.returncode != 0
        finished = hashes(clone.files("models"))
        assert finished == {path: sha256_of(pipeline.clone.root / path) for path in finished}
    assert disk.sized(AMPLE)
    clone.repro()
    for folder in ("data", "models"):
        found, expected = (hashes(one.files(folder)) for one in (clone, pipeline.clone))
        assert found == expected
    assert clone.read(f"reports/{DATASET}/evaluation.json") == pipeline.clone.read(
        f"reports/{DATASET}/evaluation.json"
    )
    assert unfinished(clone) == []

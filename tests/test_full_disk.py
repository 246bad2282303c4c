"""A disk that is full: one line, no partial file under a final name; and what killed writers have left."""

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import save_file

from prorl.checkpoint import Checkpoint
from prorl.files import atomic_file, atomic_folder, remove_unfinished, write_json
from prorl.items.matrices import write_matrix
from prorl.runtime import disk_is_full, run_stage
from prorl.tables import write_table
from tools.stage_dependencies import ROOT


def write_bytes(path):
    with atomic_file(path) as temporary:
        temporary.write_bytes(bytes(2**20))


def write_folder(path):
    with atomic_folder(path) as folder:
        save_file({"x": torch.zeros(300_000)}, folder / "model.safetensors")


WRITERS = {
    "bytes": write_bytes,
    "json": lambda path: write_json(path, ["x" * 1000] * 1000),
    "matrix": lambda path: write_matrix(path, np.zeros((1000, 300), dtype=np.float32)),
    "table": lambda path: write_table(
        path,
        pa.table({"x": np.random.default_rng(0).integers(2**62, size=10**5)}),
        pa.schema([("x", pa.int64())]),
    ),
    "folder": write_folder,
    "checkpoint": lambda path: Checkpoint("run", [], script=__file__).save({"x": torch.zeros(300_000)}, {}),
}


def stage_on_a_full_disk(params, dataset, writer):
    """A stage none of whose files may grow beyond 100 kB, as on a full disk."""
    path = Path("data/out")
    path.parent.mkdir(exist_ok=True)
    if writer != "folder":
        path.write_text("old")
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    WRITERS[writer](path)


@pytest.mark.parametrize("writer", WRITERS)
def test_a_file_that_cannot_grow_ends_a_stage_with_one_line(writer, tmp_path):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    child = os.fork()  # a new process would import for seconds
    if child == 0:
        status = 99
        try:
            os.chdir(tmp_path)
            sys.argv = ["write.py", "ml-100k", writer]
            run_stage("write", stage_on_a_full_disk, ("dataset", "writer"))
        except SystemExit as ended:
            (tmp_path / "told").write_text(str(ended.code))
            status = 1
        except BaseException as error:
            (tmp_path / "told").write_text(repr(error))
        finally:
            os._exit(status)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert ended == 1, (tmp_path / "told").read_text()
    told = (tmp_path / "told").read_text()
    assert len(told.splitlines()) == 1
    assert told.startswith("write@ml-100k-")
    assert "no space left" in told
    assert told.endswith("free some and run again to go on")
    written = [path for folder in ("data", ".checkpoints") for path in (tmp_path / folder).rglob("*")]
    final = {path.name: path.read_text() for path in written if path.is_file() and "partial" not in str(path)}
    assert final == ({} if writer == "folder" else {"out": "old"})


@pytest.mark.parametrize("number", [28, 27, 122])
def test_what_says_that_a_disk_is_full(number):
    assert disk_is_full(OSError(number, os.strerror(number)))
    assert disk_is_full(RuntimeError(f"Error: I/O error: x (os error {number})"))
    assert disk_is_full(OSError("300000 requested and 24968 written"))
    assert not disk_is_full(OSError(13, os.strerror(13)))
    assert not disk_is_full(RuntimeError("os error"))


def test_what_killed_writers_have_left_is_removed_and_nothing_else(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", "pass"])
    dead.wait()
    living = os.getppid()
    for name in (
        f".a.json.{dead.pid}.partial",
        f"b/.c.{living}.partial",
        "d.partial",
        ".e.partial",
        "f",
        ".g.x.partial",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / f"b/.folder.{dead.pid}.partial/inner").mkdir(parents=True)
    (tmp_path / f"b/.own.{os.getpid()}.partial").write_text("left by an earlier process of this number")
    remove_unfinished([tmp_path, tmp_path / "missing"])
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert left == {"b", f"b/.c.{living}.partial", "d.partial", ".e.partial", "f", ".g.x.partial"}

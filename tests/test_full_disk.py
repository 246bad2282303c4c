"""A disk that is full: one line, no partial file under a final name; and what killed writers have left."""

import os
import subprocess
import sys
import textwrap

import pytest

from prorl.files import remove_unfinished
from prorl.runtime import disk_is_full
from tools.stage_dependencies import ROOT

WRITERS = {
    "bytes": "with atomic_file(path) as temporary: temporary.write_bytes(bytes(2**20))",
    "json": "write_json(path, ['x' * 1000] * 1000)",
    "matrix": "write_matrix(path, np.zeros((1000, 300), dtype=np.float32))",
    "table": "write_table(path, pa.table({'x': list(range(10**6))}), pa.schema([('x', pa.int64())]))",
    "folder": "with atomic_folder(path) as f: save_file({'x': torch.zeros(300_000)}, f / 'model.safetensors')",
    "checkpoint": "Checkpoint('run', [], script=__file__).save({'x': torch.zeros(300_000)}, {})",
}
SCRIPT = """
import resource, signal, sys
from pathlib import Path
import numpy as np, pyarrow as pa, torch
from safetensors.torch import save_file
from prorl import runtime
from prorl.checkpoint import Checkpoint
from prorl.files import atomic_file, atomic_folder, write_json
from prorl.items.matrices import write_matrix
from prorl.tables import write_table

def body(params, dataset, writer):
    path = Path("data/out")
    path.parent.mkdir(exist_ok=True)
    path.write_text("old") if writer != "folder" else None
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    writers[writer](path)

writers = {WRITERS}
runtime.run_stage("write", body, ("dataset", "writer"))
"""


@pytest.mark.parametrize("writer", WRITERS)
def test_a_file_that_cannot_grow_ends_a_stage_with_one_line(writer, tmp_path):
    """No file of the process may grow beyond 100 kB: what a full disk does, at a place that can be chosen."""
    writers = "".join(
        f"def write_{name}(path):\n{textwrap.indent(line, '    ')}\n" for name, line in WRITERS.items()
    )
    table = "{" + ", ".join(f"{name!r}: write_{name}" for name in WRITERS) + "}"
    (tmp_path / "write.py").write_text(SCRIPT.replace("writers = {WRITERS}", f"{writers}writers = {table}"))
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, "write.py", "ml-100k", writer],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 1, ended.stderr
    [line] = ended.stderr.splitlines()
    assert line.startswith("write@ml-100k-") and "no space left" in line
    assert line.endswith("free some and run again to go on")
    written = [path for folder in ("data", ".checkpoints") for path in (tmp_path / folder).rglob("*")]
    files = {str(path.relative_to(tmp_path)): path.stat().st_size for path in written if path.is_file()}
    files = {
        name: size
        for name, size in files.items()
        if "/." not in name and not name.startswith(".checkpoints/.")
    }
    assert files == ({} if writer == "folder" else {"data/out": 3})


@pytest.mark.parametrize("number", [28, 27, 122])
def test_what_says_that_a_disk_is_full(number):
    assert disk_is_full(OSError(number, os.strerror(number)))
    assert disk_is_full(RuntimeError(f"Error: I/O error: x (os error {number})"))
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

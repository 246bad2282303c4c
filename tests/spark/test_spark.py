"""Local and Spark give the same tables, row for row; on a cluster of which one worker is killed too.

Skipped where pyspark or Java is absent.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import pytest

from prorl.config.section import ConfigError
from prorl.datasets.tabular import TABULAR
from prorl.errors import DataError
from prorl.paths.instances import mine
from prorl.paths.mine_told import told_of_mine
from prorl.paths.preparing import prepare
from prorl.spark import preparing
from prorl.spark.mining import mine_by_spark
from prorl.spark.preparing import prepare_by_spark
from prorl.spark.session import missing_for_spark
from prorl.tables import (
    INSTANCES,
    INTERACTIONS,
    PROMPTED_INSTANCES,
    SPLITS,
    USER_SPLITS,
    parts_of,
    read_table,
)
from tests.spark.logs import mine_settings, settings, write

MISSING = missing_for_spark()
needs_spark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
SEED = (7, "mine", "shop")


def compare(tmp_path, wanted, mined=None):
    """Prepare by both engines, mine too where there are settings for it, and find the same."""
    interactions, splits = tmp_path / "interactions.parquet", tmp_path / "splits.parquet"
    found = prepare_by_spark(TABULAR, tmp_path / "raw", wanted, 3, interactions, splits)
    local = prepare(TABULAR.read(tmp_path / "raw", wanted), wanted, 3)
    assert found.statistics == local.statistics
    assert found.told.lines == local.told.lines, "with the same examples"
    assert sum("such as" in line for line in local.told.lines) == 2
    assert min(removed["interactions"] for removed in local.statistics["dropped"].values()) >= 0
    assert local.statistics["k_core_filters_run"] > 3
    assert found.items.equals(local.items)
    assert read_table(interactions, INTERACTIONS).equals(local.interactions.cast(INTERACTIONS))
    assert read_table(splits, USER_SPLITS).equals(local.splits.cast(USER_SPLITS))
    assert len(parts_of(interactions)) == wanted.spark.partitions == len(parts_of(splits))
    if mined is None:
        return
    conf = {name: value for name, value in wanted.spark.conf.items() if "Registered" not in name}
    left = wanted.spark.replace(conf=conf)  # one worker may be gone
    written = {name: tmp_path / "instances" / f"{name}.parquet" for name in SPLITS}
    statistics, told = mine_by_spark(interactions, splits, found.items, None, mined, left, SEED, written)
    tables, expected = mine(local.interactions, local.items, local.splits, mined, SEED)
    assert statistics == expected
    assert told == told_of_mine(tables, expected)
    for name, table in tables.items():
        schema = INSTANCES if name == "train" else PROMPTED_INSTANCES
        assert read_table(written[name], schema).equals(table.select(schema.names).cast(schema))
    places = [
        *tmp_path.iterdir(),
        *interactions.iterdir(),
        *splits.iterdir(),
        *tmp_path.glob("instances/**/*"),
    ]
    strays = [path.name for path in places if path.name.startswith(".") or path.name.endswith(".work")]
    assert not strays


@needs_spark
def test_a_folder_of_csv_files_gives_the_same_rows_and_counts(tmp_path):
    write(tmp_path / "raw", "csv", 2)
    compare(tmp_path, settings(repeats="last", min_item_interactions=12))


@needs_spark
def test_an_error_on_a_worker_is_one_line(tmp_path):
    folder = write(tmp_path / "raw", "csv", 2)
    with (folder / "day-2.csv").open("a") as stream:
        stream.write('"u1","i7","soon"\n')
    with pytest.raises(
        DataError, match=r"day-2.csv: line 2002: timestamp is 'soon', allowed: a whole number"
    ) as told:
        prepare_by_spark(TABULAR, tmp_path / "raw", settings(), 3, tmp_path / "i", tmp_path / "s")
    assert "\n" not in str(told.value)
    assert not (tmp_path / "i").exists()


class Cluster:
    """A standalone cluster of two workers on loopback, each in a process group of its own."""

    def __init__(self, folder):
        spec = find_spec("pyspark")
        assert spec is not None
        assert spec.origin is not None
        self.home, self.folder = Path(spec.origin).parent, folder
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            other.bind(("127.0.0.1", 0))
            self.port, self.page = one.getsockname()[1], other.getsockname()[1]
        self.master = f"spark://127.0.0.1:{self.port}"
        ports = ["--port", str(self.port), "--webui-port", str(self.page)]
        self.started = [self._start("master.Master", *ports)]
        self.workers = [
            self._start("worker.Worker", "--cores", "1", "--memory", "700m", "--webui-port", "0", self.master)
            for _ in range(2)
        ]

    def wait(self):
        """Until both workers are there."""
        deadline = time.monotonic() + 120
        while '"aliveworkers" : 2' not in self._state():
            assert time.monotonic() < deadline, self._state()
            time.sleep(0.2)

    def _start(self, kind, *arguments):
        environment = {
            **os.environ,
            "SPARK_HOME": str(self.home),
            "SPARK_DAEMON_MEMORY": "128m",
            "SPARK_DAEMON_JAVA_OPTS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
            "SPARK_WORKER_DIR": str(self.folder / "work"),
            "SPARK_LOCAL_DIRS": str(self.folder / "local"),
            "SPARK_LOCAL_IP": "127.0.0.1",
        }
        command = [self.home / "bin/spark-class", f"org.apache.spark.deploy.{kind}", "--host", "127.0.0.1"]
        with (self.folder / f"{kind}.log").open("ab") as log:
            return subprocess.Popen(
                [*command, *arguments], env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def _state(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.page}/json/", timeout=5) as answer:
                return answer.read().decode()
        except OSError:
            return ""

    def kill(self, worker):
        """Kill a worker with its executor, as if its machine were gone."""
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()

    def stop(self):
        for process in [*self.workers, *self.started]:
            if process.poll() is None:
                self.kill(process)


@pytest.fixture
def cluster(tmp_path):
    (tmp_path / "cluster").mkdir()
    started = Cluster(tmp_path / "cluster")
    try:
        started.wait()
        yield started
    finally:
        started.stop()


@needs_spark
def test_a_cluster_of_which_a_worker_is_killed_in_the_middle_gives_the_same_rows(
    tmp_path, cluster, monkeypatch
):
    """Once the log is dealt and kept on both workers' disks, one of them is gone."""
    write(tmp_path / "raw")
    count, killed = preparing._Log.count, threading.Event()

    def counted(log, *arguments):
        found = count(log, *arguments)
        if not killed.is_set():
            killed.set()
            cluster.kill(cluster.workers[0])
        return found

    monkeypatch.setattr(preparing._Log, "count", counted)
    conf = {
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.executor.cores": "1",
        "spark.scheduler.minRegisteredResourcesRatio": "1.0",
        "spark.cores.max": "2",
    }
    compare(tmp_path, settings(cluster.master, conf), mine_settings())
    assert killed.is_set()
    assert cluster.workers[1].poll() is None


def test_what_spark_cannot_do_is_refused(tmp_path):
    write(tmp_path)
    with pytest.raises(
        ConfigError, match=r"prepare.engine: got spark, allowed where prepare.split_from is set"
    ):
        prepare_by_spark(TABULAR, tmp_path, settings(split_from="x"), 3, tmp_path / "i", tmp_path / "s")
    with pytest.raises(ConfigError, match=r"mine.engine: got spark, allowed where mine.import is set: local"):
        mine_by_spark(
            tmp_path,
            tmp_path,
            TABULAR,
            None,
            mine_settings(import_="x"),
            settings().spark,
            SEED,
            {},  # pyright: ignore
        )


def test_without_java_the_setting_is_refused(tmp_path, monkeypatch):
    write(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(
        ConfigError, match=r"prepare.engine: got spark, allowed: local, as (Java|the package pyspark)"
    ):
        prepare_by_spark(TABULAR, tmp_path, settings(), 3, tmp_path / "i", tmp_path / "s")


def test_the_library_imports_no_pyspark_where_the_engine_is_local():
    code = "import sys, prorl.spark.preparing, prorl.spark.mining; sys.exit('pyspark' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

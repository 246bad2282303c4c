"""A session of Apache Spark, with this library on its workers, and its errors in this project's words."""

import importlib
import importlib.util
import os
import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prorl.code import ROOT
from prorl.config.prepare import Spark
from prorl.config.section import ConfigError
from prorl.errors import DataError

# What workers raise, as it stands in the trace that Spark passes on.
RAISED = re.compile(r"prorl\.(?:errors\.DataError|config\.section\.ConfigError): (.*)")


def missing_for_spark() -> str | None:
    """What Spark lacks on this machine; None where it can run."""
    if importlib.util.find_spec("pyspark") is None:
        return "the package pyspark is not installed; it comes with the extra `spark`"
    home = os.environ.get("JAVA_HOME")
    if shutil.which("java") is None and not (home and Path(home, "bin/java").exists()):
        return "Java 17 or later is not found; it is looked for in PATH and JAVA_HOME"
    return None


@contextmanager
def spark_session(settings: Spark, engine: str) -> Iterator[Any]:
    """A session on the cluster that `settings` name, ended with the block; `engine` is the setting that asks.

    Workers get this library as a zip and need its packages (NumPy, pandas, PyArrow, pydantic) beside their
    Python, and folders of the data set under the same paths. Raises `ConfigError` where Spark cannot run
    here, and in place of an error of Spark the `DataError` behind it, if one is.
    """
    if missing := missing_for_spark():
        raise ConfigError(f"params.yaml: {engine}: got spark, allowed: local, as {missing}")
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    sql: Any = importlib.import_module("pyspark.sql")
    builder = sql.SparkSession.builder.master(settings.master).appName(f"prorl {engine}")
    for name, value in _conf(settings).items():
        builder = builder.config(name, value)
    with tempfile.TemporaryDirectory() as folder:
        session = builder.getOrCreate()
        try:
            session.sparkContext.setLogLevel("OFF")
            session.sparkContext.addPyFile(str(_library(Path(folder))))
            yield session
        except Exception as error:
            if raised := RAISED.search(str(error)):
                raise DataError(raised[1]) from error
            raise
        finally:
            session.stop()


def _conf(settings: Spark) -> dict[str, str]:
    """Settings of Spark: ours, then those of the user over them."""
    local = settings.master.startswith("local")
    return {
        **({"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"} if local else {}),
        "spark.executor.memory": settings.executor_memory,
        "spark.driver.memory": settings.executor_memory,
        "spark.driver.maxResultSize": "0",  # counts of all items and users come back
        "spark.sql.shuffle.partitions": str(settings.partitions),
        "spark.sql.execution.arrow.maxRecordsPerBatch": "100000",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        **settings.conf,
    }


def _library(folder: Path) -> Path:
    """A zip of this library's modules in `folder`, compiled, so that no worker has to."""
    path = folder / "prorl.zip"
    with zipfile.PyZipFile(str(path), "w", optimize=0) as archive:
        archive.writepy(str(ROOT / "prorl"))
    return path

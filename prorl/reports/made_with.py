"""How a report was made: the command of each stage, and the versions of what computed it.

Nothing of the machine, the day or the time: a report is part of git, and the same where the same is run.
"""

import platform
import re
from importlib.metadata import version
from pathlib import Path

from prorl.config.heads import Heads
from prorl.params import read_yaml
from prorl.reports.tables import Table

PIPELINE = Path("dvc.yaml")
PACKAGES = (
    *("torch", "transformers", "sentence-transformers", "scikit-learn", "scipy", "numpy", "pandas", "pyarrow"),
    *("safetensors", "dvc", "vl-convert-python"),
)
AXES = {"simulator": "simulators", "guide": "guides"}  # of a stage's matrix, and the setting that lists them


def commands(heads: Heads, dataset: str, pipeline: Path = PIPELINE) -> list[str]:
    """The command of each stage that `pipeline` runs for all data sets, in its order, once for each simulator
    or guide where a stage has several.

    Raises `ConfigError` where `pipeline` is not readable.
    """
    found = []
    for stage in read_yaml(pipeline, holds="stages")["stages"].values():
        if stage["matrix"]["dataset"] != "${datasets}":  # for the data sets that a section lists
            continue
        command = stage["cmd"].replace("${launch}", heads.launch).replace("${item.dataset}", dataset)
        each = [command]
        for axis, setting in AXES.items():
            if axis in stage["matrix"]:
                each = [
                    own.replace(f"${{item.{axis}}}", name) for own in each for name in getattr(heads, setting)
                ]
        found += [re.sub(r"'([\w-]+)'", r"\1", own) for own in each]
    return found


def versions() -> Table:
    """Python's version and those of `PACKAGES`, without the name of a build."""
    rows = [["Python", platform.python_version()]]
    rows += [[package, version(package).partition("+")[0]] for package in PACKAGES]
    return Table("Versions", ["", "version"], rows)

"""How a report was made: the command of each stage, and the versions of what computed it.

Nothing of the machine, the day or the time: a report is part of git, and the same where the same is run.
"""

import platform
from importlib.metadata import version

from prorl.config.heads import Heads
from prorl.reports.tables import Table

# The stages of dvc.yaml that run for all data sets, in its order: the script, whether the setting `launch`
# starts it, and the setting that lists what it runs for. (DVC allows no stage to depend on dvc.yaml.)
STAGES: tuple[tuple[str, bool, str | None], ...] = (
    ("inputs", False, None),
    ("fetch", False, None),
    ("prepare", False, None),
    ("mine", False, None),
    ("simulator", True, "simulators"),
    ("validate", False, "simulators"),
    ("embed", True, None),
    ("reduce", False, None),
    ("quantize", False, None),
    ("pretrain", True, None),
    ("finetune", True, None),
    ("guide", False, "guides"),
    ("evaluate", False, None),
    ("gate", False, None),
    ("release", False, None),
    ("report", False, None),
)
PACKAGES = (
    *(
        "torch",
        "transformers",
        "sentence-transformers",
        "scikit-learn",
        "scipy",
        "numpy",
        "pandas",
        "pyarrow",
    ),
    *("safetensors", "dvc", "vl-convert-python"),
)


def commands(heads: Heads, dataset: str) -> list[str]:
    """The command of each stage, once for each simulator or guide where it has several."""
    return [
        f"{heads.launch if launched else 'python'} stages/{stage}.py {' '.join([dataset, *name])}"
        for stage, launched, axis in STAGES
        for name in ([[name] for name in getattr(heads, axis)] if axis else [[]])
    ]


def versions() -> Table:
    """Python's version and those of `PACKAGES`, without the name of a build."""
    rows = [["Python", platform.python_version()]]
    rows += [[package, version(package).partition("+")[0]] for package in PACKAGES]
    return Table("Versions", ["", "version"], rows)

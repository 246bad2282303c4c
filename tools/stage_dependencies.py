"""What each stage of dvc.yaml depends on, read from the code: the prorl modules it imports, directly or not,
and its params.

`python -m tools.stage_dependencies --write` rewrites both in dvc.yaml and leaves everything else there as it
is. Params are the fields of every section that the script reads with `params.section(Name, dataset)`, one by
one, and the data set's own entry, so that another data set's entry re-runs nothing. A stage that always runs
has neither.
"""

import ast
import io
import sys
from pathlib import Path

from prorl.code import ROOT, modules_of
from prorl.config.heads import Heads
from prorl.config.section import Settings
from prorl.config.sections import SECTIONS
from prorl.presets import round_trip_yaml

DVC_FILE = ROOT / "dvc.yaml"
WITHOUT_EFFECT = ("logging",)  # sections that change how a run looks and never what it writes
# Settings outside sections that a script may read; dvc.yaml itself states how and for what stages run.
HEADS = [head for head in Heads.model_fields if head not in ("launch", "datasets")]


def is_module(dep: str) -> bool:
    """Whether `dep` of a stage is a module of the library."""
    return dep.startswith("prorl/") and dep.endswith(".py")


def settings_read(script: Path) -> tuple[set[str], list[str]]:
    """Settings outside sections, and sections, that `script` reads from `params`."""
    heads, sections, names = set(), [], {kind.__name__: name for name, kind in SECTIONS.items()}
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "params"
            and node.attr in HEADS
        ):
            heads.add(node.attr)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "params.section":
            sections.append(names[ast.unparse(node.args[0])])
    return heads, [name for name in SECTIONS if name in sections and name not in WITHOUT_EFFECT]


def params_of(script: Path, axes: list[str]) -> list[str]:
    """Params of the stage that runs `script` over the matrix `axes`.

    Where simulators are an axis, the groups of settings named after simulators give way to that of the one at
    hand. A section whose keys are the user's own is one param, if it has no entries of data sets; where its
    keys are an axis, it is that of the one at hand.
    """
    heads, sections = settings_read(script)
    params = [head for head in HEADS if head in heads]
    for section in sections:
        if not SECTIONS[section].per_data_set and SECTIONS[section].model_config.get("extra") == "allow":
            params.append(f"{section}.${{item.{section}}}" if section in axes else section)
        for name, field in SECTIONS[section].model_fields.items():
            if name == "datasets":  # dvc.yaml itself states which data sets an optional stage is there for
                continue
            group = isinstance(field.annotation, type) and issubclass(field.annotation, Settings)
            key = "${item.simulator}" if "simulator" in axes and group else field.alias or name
            if f"{section}.{key}" not in params:
                params.append(f"{section}.{key}")
        if SECTIONS[section].per_data_set:
            params.append(f"{section}.${{item.dataset}}")
    return params


def dependencies_of(stage: dict) -> tuple[list[str], list[str]]:
    """The modules and params of `stage`, whose script is its first dep; none of a stage that always runs."""
    if stage.get("always_changed"):
        return [], []
    script = ROOT / stage["deps"][0]
    return modules_of(script), params_of(script, list(stage["matrix"]))


def with_dependencies(stages: dict) -> dict:
    """`stages` of dvc.yaml with modules among deps and params put right, in place."""
    for stage in stages.values():
        modules, params = dependencies_of(stage)
        script, *inputs = [dep for dep in stage["deps"] if not is_module(dep)]
        stage["deps"][:] = [script, *modules, *inputs]
        if params and "params" not in stage:
            stage.insert(list(stage).index("deps") + 1, "params", params)
        elif params:
            stage["params"][:] = params
    return stages


def main(arguments: list[str]) -> None:
    """Print what dvc.yaml should be, or write it with `--write`."""
    if arguments not in ([], ["--write"]):
        sys.exit("usage: python -m tools.stage_dependencies [--write]")
    yaml = round_trip_yaml()
    document = yaml.load(DVC_FILE)
    with_dependencies(document["stages"])
    text = io.StringIO()
    yaml.dump(document, text)
    if arguments:
        DVC_FILE.write_text(text.getvalue(), encoding="utf-8")
    else:
        print(text.getvalue(), end="")


if __name__ == "__main__":
    main(sys.argv[1:])

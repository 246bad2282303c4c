"""What each stage of dvc.yaml depends on, read from the code: the prorl modules it imports, directly or not,
and its params.

`python -m tests.stage_dependencies --write` rewrites both in dvc.yaml and leaves everything else there as it
is. Modules are found in the syntax tree of a script and of what it imports. Params are the fields of every
section that the script reads with `params.section(name, dataset)`, one by one, and the data set's own entry,
so that another data set's entry re-runs nothing.
"""

import ast
import io
import sys
from pathlib import Path

from ruamel.yaml import YAML

from prorl.config.section import Settings
from prorl.config.sections import SECTIONS

STATED_IN_DVC = ("prorl/config/", "prorl/layout.py")  # dvc.yaml states values and paths themselves
ROOT = Path(__file__).resolve().parent.parent
DVC_FILE = ROOT / "dvc.yaml"
WITHOUT_EFFECT = ("logging",)  # sections that change how a run looks and never what it writes
HEADS = ("seed", "training_seed", "simulators", "guides")  # settings outside sections that a script may read


def round_trip_yaml() -> YAML:
    """A reader and writer that keeps comments, order and line breaks."""
    yaml = YAML()
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def is_module(dep: str) -> bool:
    """Whether `dep` of a stage is a module of the library."""
    return dep.startswith("prorl/") and dep.endswith(".py")


def module_file(name: str) -> Path | None:
    """The file of module or package `name` in the repository, or None where `name` is something inside a
    module.
    """
    path = ROOT.joinpath(*name.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.exists()), None)


def imported_names(file: Path) -> set[str]:
    """Names of prorl's modules in the import statements of `file`; `from a import b` gives both `a` and
    `a.b`.
    """
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"{file}, line {node.lineno}: relative import; name the module in full")
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] == "prorl"}


def modules_of(script: Path) -> list[str]:
    """Paths of all prorl modules that `script` imports, directly or not, and of the packages that hold them,
    sorted.
    """
    found: set[Path] = set()
    waiting = [script]
    while waiting:
        for name in imported_names(waiting.pop()):
            parts = name.split(".")
            files = (
                {module_file(".".join(parts[:depth])) for depth in range(1, len(parts) + 1)} - {None} - found
            )
            found |= files
            waiting += files
    modules = (str(file.relative_to(ROOT)) for file in found)
    return sorted(module for module in modules if not module.startswith(STATED_IN_DVC))


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
    hand.
    """
    heads, sections = settings_read(script)
    params = [head for head in HEADS if head in heads]
    for section in sections:
        if not SECTIONS[section].model_fields:  # its keys are names of the user's
            params.append(section)
        for name, field in SECTIONS[section].model_fields.items():
            group = isinstance(field.annotation, type) and issubclass(field.annotation, Settings)
            key = "${item.simulator}" if "simulator" in axes and group else field.alias or name
            if f"{section}.{key}" not in params:
                params.append(f"{section}.{key}")
        if SECTIONS[section].per_data_set:
            params.append(f"{section}.${{item.dataset}}")
    return params


def with_dependencies(stages: dict) -> dict:
    """`stages` of dvc.yaml with modules among deps and params put right, in place; a stage's script is its
    first dep.
    """
    for stage in stages.values():
        script, *inputs = [dep for dep in stage["deps"] if not is_module(dep)]
        stage["deps"][:] = [script, *modules_of(ROOT / script), *inputs]
        params = params_of(ROOT / script, list(stage["matrix"]))
        if params and "params" not in stage:
            stage.insert(list(stage).index("deps") + 1, "params", params)
        elif params:
            stage["params"][:] = params
    return stages


def main(arguments: list[str]) -> None:
    """Print what dvc.yaml should be, or write it with `--write`."""
    if arguments not in ([], ["--write"]):
        sys.exit("usage: python -m tests.stage_dependencies [--write]")
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

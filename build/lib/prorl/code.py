"""Which modules of the library a script runs, read from import statements without importing anything."""

import ast
from pathlib import Path

import prorl

ROOT = Path(prorl.__file__).resolve().parent.parent
# What a stage's result depends on by other means: dvc.yaml and a checkpoint's key hold the values of settings
# and the paths of files, so that a new bound, or a path of another stage, runs nothing again.
STATED_ELSEWHERE = ("prorl/config/", "prorl/layout.py")


def imported_names(file: Path) -> set[str]:
    """Names of prorl's modules in the import statements of `file`; `from a import b` gives both `a` and
    `a.b`. Raises `ValueError` for a relative import.
    """
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level or node.module is None:
                raise ValueError(f"{file}, line {node.lineno}: relative import; name the module in full")
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] == "prorl"}


def modules_of(script: Path) -> list[str]:
    """Paths from the root of all prorl modules that `script` imports, directly or not, and of the packages
    that hold them, sorted; without those `STATED_ELSEWHERE`.
    """
    found: set[Path] = set()
    waiting = [script]
    while waiting:
        for name in imported_names(waiting.pop()):
            parts = name.split(".")
            files = {_module_file(parts[:depth]) for depth in range(1, len(parts) + 1)}
            new = {file for file in files if file is not None} - found
            found |= new
            waiting += new
    modules = (file.relative_to(ROOT).as_posix() for file in found)
    return sorted(module for module in modules if not module.startswith(STATED_ELSEWHERE))


def _module_file(parts: list[str]) -> Path | None:
    """The file of a module or package, or None where the name is that of something inside a module."""
    path = ROOT.joinpath(*parts)
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.exists()), None)

"""Which code a guide's results come from: the modules that its kind is made of, and no other guide's.

A stage depends on the modules of all guides. What was fitted or judged before is found again by those of the
one guide alone.
"""

import ast
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from prorl.code import ROOT, modules_of
from prorl.guide import GuideEntry
from prorl.guides import registry


@cache
def code_of(file: Path) -> tuple[Path, ...]:
    """The module `file` and all modules of the library that it imports, directly or not."""
    return file, *(ROOT / module for module in modules_of(file))


def code_of_kind(entry: GuideEntry) -> tuple[list[Path], list[str]]:
    """The modules that `entry` builds and fits with, and the text of its functions in the registry.

    Of the registry, which imports every guide's module, the entry's own functions count, what they call there
    and what they import.
    """
    files, texts = set[Path](), dict[str, str]()
    for function in (entry.build, entry.fit):
        if function is None:
            continue
        module, own = sys.modules[function.__module__], _functions_of_registry()
        if module is not registry or function.__name__ not in own:
            files.update(code_of(Path(str(module.__file__))))
            continue
        for name in _called(function, own):
            texts[name] = ast.unparse(own[name])
            for imported in _imported(own[name]):
                files.update(code_of(imported))
    return sorted(files), [texts[name] for name in sorted(texts)]


def _functions_of_registry() -> dict[str, ast.FunctionDef]:
    tree = ast.parse(Path(registry.__file__).read_text(encoding="utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def _called(function: Callable, own: dict[str, ast.FunctionDef]) -> list[str]:
    """The names of `function` and of all functions of the registry that it mentions, directly or not."""
    found, waiting = [], [function.__name__]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.append(name)
            nodes = ast.walk(own[name])
            waiting += [node.id for node in nodes if isinstance(node, ast.Name) and node.id in own]
    return found


def _imported(function: ast.FunctionDef) -> Iterator[Path]:
    """The files of the modules that are imported within `function`."""
    for node in ast.walk(function):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            path = ROOT.joinpath(*name.split("."))
            for file in (path.with_suffix(".py"), path / "__init__.py"):
                if file.exists():
                    yield file

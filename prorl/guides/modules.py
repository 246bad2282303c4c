"""Which code a guide's results come from: the modules that its kind is made of, and no other guide's.

A stage depends on the modules of all guides. What was fitted or judged before is found again by those of the
one guide alone.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self

from prorl.code import ROOT, modules_of
from prorl.guide import GuideEntry
from prorl.guides import kinds, registry


@cache
def code_of(file: Path) -> tuple[Path, ...]:
    """The module `file` and all modules of the library that it imports, directly or not."""
    return file, *(ROOT / module for module in modules_of(file))


def code_of_kind(entry: GuideEntry) -> tuple[list[Path], list[str]]:
    """The modules that `entry` builds and fits with, and the text of its functions in the registry.

    Of the registry and the modules of `prorl.guides.kinds`, which import every guide's module, the entry's
    own functions count, what they call there and what they import.
    """
    files, texts, listing = set[Path](), dict[tuple[str, str], str](), _Listing.read()
    for function in (entry.build, entry.fit):
        if function is None:
            continue
        first = function.__module__, function.__name__
        if first not in listing.functions:
            files.update(code_of(Path(str(sys.modules[function.__module__].__file__))))
            continue
        for module, name in listing.reached(first):
            own = listing.functions[module, name]
            texts[name, module] = ast.unparse(own)
            for imported in listing.imports(own):
                files.update(code_of(imported))
    return sorted(files), [texts[key] for key in sorted(texts)]


@dataclass(frozen=True)
class _Listing:
    """The modules that list kinds: their functions by module and name, and by the same what else of these
    modules a name in one of them stands for, module and name there.
    """

    functions: dict[tuple[str, str], ast.FunctionDef]
    names: dict[tuple[str, str], tuple[str, str]]

    @classmethod
    def read(cls) -> Self:
        """As the files say."""
        files = [Path(str(registry.__file__)), *Path(kinds.__path__[0]).glob("*.py")]
        trees = {
            ".".join(file.relative_to(ROOT).with_suffix("").parts): ast.parse(file.read_text("utf-8"))
            for file in files
        }
        functions = {
            (module, node.name): node
            for module, tree in trees.items()
            for node in tree.body
            if isinstance(node, ast.FunctionDef)
        }
        names = {
            (module, alias.asname or alias.name): (node.module, alias.name)
            for module, tree in trees.items()
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module is not None
            for alias in node.names
            if (node.module, alias.name) in functions
        }
        return cls(functions, names)

    def reached(self, first: tuple[str, str]) -> list[tuple[str, str]]:
        """The function `first` and all that it mentions, directly or not."""
        found, waiting = [], [first]
        while waiting:
            one = waiting.pop()
            if one in found:
                continue
            found.append(one)
            mentioned = [
                (one[0], node.id) for node in ast.walk(self.functions[one]) if isinstance(node, ast.Name)
            ]
            waiting += [
                key for key in (self.names.get(key, key) for key in mentioned) if key in self.functions
            ]
        return found

    def imports(self, function: ast.FunctionDef) -> Iterator[Path]:
        """The files of the modules that are imported within `function`, but where it imports one of these
        functions.
        """
        for node in ast.walk(function):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                others = [a.name for a in node.names if (node.module, a.name) not in self.functions]
                names = [node.module, *(f"{node.module}.{name}" for name in others)] if others else []
            for name in names:
                path = ROOT.joinpath(*name.split("."))
                for file in (path.with_suffix(".py"), path / "__init__.py"):
                    if file.exists():
                        yield file

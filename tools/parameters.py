"""The reference of all settings, docs/parameters.md, made from what sections declare and from params.yaml.

`python -m tools.parameters` prints it, `--write` writes it.
"""

import inspect
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from prorl.config.heads import Heads
from prorl.config.section import Declared, Settings, declared
from prorl.config.sections import SECTIONS
from prorl.params import PARAMS_FILE, read_yaml
from prorl.presets import round_trip_yaml

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "parameters.md"
TYPES = {int: "whole number", float: "number", str: "text", bool: "true or false"}
HEADER = """\
# Parameters

Every setting of `params.yaml`, as the modules of `prorl/config/` declare it. This page is made by
`python -m tools.parameters --write`.

A section's keys hold for all data sets. Its entry for one of them, such as `finetune.ml-100k`, overrides them
for that data set alone; `decoding` and `logging` have none. Under *default* stands the value in this
repository's `params.yaml`. `prorl check` finds what is missing, unknown or out of range, and settings that do
not agree with each other.
"""


def page() -> str:
    """The page as Markdown."""
    raw = read_yaml(ROOT / PARAMS_FILE)
    parts = [HEADER, "## Outside sections\n", table(Heads, raw)]
    for name, kind in SECTIONS.items():
        parts += [f"\n## {name}\n", f"{inspect.cleandoc(kind.__doc__ or '')}\n", table(kind, raw[name])]
    return "\n".join(parts) + "\n"


def table(kind: type[Settings], values: dict) -> str:
    """The settings of `kind` and of its groups as a Markdown table."""
    lines = [("key", "type", "allowed", "default", "what it is"), ("---",) * 5, *rows(kind, values, "")]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)


def rows(kind: type[BaseModel], values: dict, prefix: str) -> Iterator[tuple[str, ...]]:
    """A line for each setting: key, type, what is allowed, its value and its description."""
    for name, field in kind.model_fields.items():
        key = field.alias or name
        value, group = values[key], declared(field.annotation, field.metadata).kind
        is_group = isinstance(group, type) and issubclass(group, BaseModel)
        shown = "" if is_group and value is not None else f"<code>{in_yaml(value)}</code>"
        yield f"`{prefix}{key}`", type_of(field), allowed(field), shown, field.description or ""
        if is_group:
            inner = value if value is not None else dict.fromkeys(group.model_fields)
            for line in rows(group, inner, f"{prefix}{key}."):
                yield line if value is not None else (*line[:3], "", line[4])


def type_of(field: FieldInfo) -> str:
    """The type of a setting in words."""
    return _type(declared(field.annotation))


def _type(of: Declared) -> str:
    kind, null = of.kind, " or null" if of.nullable else ""
    if get_origin(kind) is Literal:
        return f"choice{null}"
    if get_origin(kind) in (list, dict):
        held = "list" if get_origin(kind) is list else "mapping"
        return f"{held}{null}: {_type(declared(get_args(kind)[-1]))}"
    return f"{TYPES.get(kind, 'mapping')}{null}"


def allowed(field: FieldInfo) -> str:
    """What a setting may be: choices, bounds, and for a list or a mapping those of what it holds."""
    kind = declared(field.annotation, field.metadata)
    if get_origin(kind.kind) not in (list, dict):
        return _allowed(kind.kind, kind.bounds)
    held = [declared(part) for part in get_args(kind.kind)]
    return "; ".join(text for text in (_allowed(part.kind, part.bounds) for part in held) if text)


def _allowed(kind: Any, bounds: str | None) -> str:
    if get_origin(kind) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(kind))
    return (bounds or "").removeprefix("a number ")


def in_yaml(value: Any) -> str:
    """`value` in a line of YAML."""
    yaml, text = round_trip_yaml(), io.StringIO()
    yaml.default_flow_style = True
    yaml.dump(value, text)
    return text.getvalue().removesuffix("...\n").strip()


def main(arguments: list[str]) -> None:
    """Print the page, or write it with `--write`."""
    if arguments not in ([], ["--write"]):
        sys.exit("usage: python -m tools.parameters [--write]")
    if arguments:
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(page(), encoding="utf-8")
    else:
        print(page(), end="")


if __name__ == "__main__":
    main(sys.argv[1:])

"""What the sections of params.yaml are made of, and what is said of a mistake in them.

A section is a pydantic model whose fields state type, bounds and a description. Nothing in it has a default:
params.yaml states every value. Pydantic's errors are told in this project's own words, one line each.
"""

import difflib
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

Precision = Literal["float32", "bf16"]
WORDS = {"gt": "above", "ge": "at least", "le": "at most", "lt": "below"}  # in the order they are told
LONGEST_MESSAGE = 1000  # characters; what a file holds may be quoted, and a file may hold anything
KINDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


def one_line(message: object) -> str:
    """`message` as one line of at most `LONGEST_MESSAGE` characters; of a longer one, start and end."""
    line = " ".join(str(message).splitlines())
    if len(line) <= LONGEST_MESSAGE:
        return line
    start = LONGEST_MESSAGE * 2 // 3
    return f"{line[:start]} [..] {line[-(LONGEST_MESSAGE - start - 6) :]}"


class ConfigError(ValueError):
    """A setting that is missing, unknown, of the wrong type or out of range. Its message is `one_line`."""

    def __init__(self, message: object = ""):
        super().__init__(one_line(message))


class Refused(ValueError):
    """Raised by a section's own check: the setting `key`, what was found, what is allowed and `where`."""

    def __init__(self, key: str, found: object, allowed: str, where: str = ""):
        self.key, self.told = key, f"got {found}, allowed{where and f' {where}'}: {allowed}"
        super().__init__(f"{key}: {self.told}")


class Settings(BaseModel):
    """A group of settings: strict, frozen, without unknown keys, NaN or infinities."""

    model_config = ConfigDict(
        strict=True, frozen=True, extra="forbid", allow_inf_nan=False, validate_by_name=True
    )

    def replace(self, **changes: Any) -> Self:
        """The same with other values, checked anew. Raises `ConfigError`."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        values |= self.model_extra or {}
        return build(type(self), values | changes, "", type(self).__name__)

    def as_json(self) -> dict[str, Any]:
        """The values as JSON has them, with the keys of params.yaml."""
        return self.model_dump(mode="json", by_alias=True)


class Section(Settings):
    """A section of params.yaml: its name, and whether it has entries of data sets."""

    section: ClassVar[str]
    per_data_set: ClassVar[bool] = True


S = typing.TypeVar("S", bound=Settings)


def build(kind: type[S], values: Any, name: str, source: str) -> S:
    """`values`, the mapping `name` of the file `source`, as `kind`.

    Raises `ConfigError` for the first mistake.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{source}: {_told(kind, error.errors()[0], name)}") from None


def mistakes(kind: type[Settings], values: Any, name: str, source: str) -> list[str]:
    """Every mistake in `values`, a line each; none where `build` succeeds."""
    try:
        kind.model_validate(values)
    except ValidationError as error:
        return [f"{source}: {_told(kind, details, name)}" for details in error.errors()]
    return []


def unknown_key(key: object, allowed: list[str]) -> str:
    """What is said of a `key` that is none of those `allowed`: the nearest, or all of them."""
    close = difflib.get_close_matches(str(key), allowed, n=1)
    return (
        f"unknown key; did you mean {close[0]!r}?" if close else f"unknown key; allowed: {', '.join(allowed)}"
    )


def keys_of(kind: type[Settings]) -> list[str]:
    """The keys of `kind` as params.yaml has them."""
    return [field.alias or name for name, field in kind.model_fields.items()]


def _told(kind: type[Settings], details: ErrorDetails, name: str) -> str:
    """One of pydantic's errors in `kind`, the mapping `name`, as `key: got value (type), allowed: ..`."""
    location, value, error = details["loc"], details["input"], details["type"]
    if location and location[-1] == "[key]":  # a mapping's key, not its value
        location, value = location[:-2], location[-2]
        at = _at(kind, location)
        return (
            f"{_key(name, location)}: {_got(value)}, allowed: {_allowed(typing.get_args(at.kind)[0], error)}"
        )
    key = _key(name, location)
    if error == "missing":
        return f"{key}: missing"
    if error == "extra_forbidden":
        return f"{key}: {unknown_key(location[-1], keys_of(_at(kind, location[:-1]).kind))}"
    if error == "value_error" and isinstance(refused := details.get("ctx", {}).get("error"), Refused):
        return f"{_key(key, (refused.key,))}: {refused.told}"
    at = _at(kind, location)
    if at.kind is float and type(value) is int:
        value = float(value)
    allowed = _allowed(at.kind, error) or at.bounds or details["msg"]
    return f"{key}: {_got(value)}, allowed: {allowed}"


def _got(value: object) -> str:
    return f"got {value!r} ({type(value).__name__})"


def _allowed(kind: Any, error: str) -> str | None:
    if typing.get_origin(kind) is Literal:
        return ", ".join(map(str, typing.get_args(kind)))
    return KINDS.get(error)


def _key(name: str, location: tuple[int | str, ...]) -> str:
    """`name` and the way from it: `finetune.kl.target`, `prepare.split[0]`."""
    for part in location:
        name += f"[{part}]" if isinstance(part, int) else f".{part}" if name else str(part)
    return name


@dataclass(frozen=True)
class Declared:
    """A type without `None` and `Annotated`, what its numbers are bounded by in words, and whether it may be
    null.
    """

    kind: Any
    bounds: str | None
    nullable: bool


def _at(kind: Any, location: tuple[int | str, ...]) -> Declared:
    """The annotation at `location` within the model `kind`."""
    found = Declared(kind, None, False)
    for part in location:
        if isinstance(found.kind, type) and issubclass(found.kind, BaseModel):
            fields = found.kind.model_fields
            field = next((field for name, field in fields.items() if part in (name, field.alias)), None)
            if field is None:  # a further key, where a model allows them
                hints = typing.get_type_hints(found.kind, include_extras=True)
                further = typing.get_args(hints.get("__pydantic_extra__"))
                found = _plain(further[-1] if further else Any, [])
            else:
                found = _plain(field.annotation, list(field.metadata))
        else:  # a list's entry, or a mapping's value
            found = _plain(typing.get_args(found.kind)[-1], [])
    return found


def declared(kind: Any, metadata: Sequence[Any] = ()) -> Declared:
    """What a field with the annotation `kind` declares, or what the list or mapping of a field holds."""
    return _plain(kind, list(metadata))


def _plain(kind: Any, metadata: list) -> Declared:
    nullable = False
    while True:
        if typing.get_origin(kind) is Annotated:
            kind, *more = typing.get_args(kind)
            metadata += [part for entry in more for part in (getattr(entry, "metadata", None) or [entry])]
        elif isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
            nullable = nullable or type(None) in typing.get_args(kind)
            kind = next(part for part in typing.get_args(kind) if part is not type(None))
        else:
            break
    bounds = {name: getattr(entry, name) for entry in metadata for name in WORDS if hasattr(entry, name)}
    told = " and ".join(f"{word} {bounds[name]:g}" for name, word in WORDS.items() if name in bounds)
    return Declared(kind, f"a number {told}" if told else None, nullable)

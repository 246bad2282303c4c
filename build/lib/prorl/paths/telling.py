"""What stages tell a person about data: lines of counts, and warnings with their likely cause."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field

LARGE_SHARE = 1 / 3  # of what is dropped or hollow, above which a person is warned


@dataclass(frozen=True)
class Told:
    """Lines for standard output, and warnings for standard error."""

    lines: list[str]
    warnings: list[str] = field(default_factory=list)

    def show(self) -> None:
        """Print all of it."""
        for line in self.lines:
            print(line, flush=True)
        for warning in self.warnings:
            print(f"warning: {warning}", file=sys.stderr, flush=True)


def percent(part: int, whole: int) -> str:
    """`part` of `whole` in per cent, as `12.5%`."""
    return f"{100 * part / max(whole, 1):.1f}%"


def examples(ids: Iterable[str]) -> str:
    """Ids as quoted examples: `, such as 'a', 'b'`; nothing where there are none."""
    shown = ", ".join(repr(raw_id) for raw_id in ids)
    return f", such as {shown}" if shown else ""

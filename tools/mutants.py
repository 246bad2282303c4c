"""Tests of the tests: `python -m tools.mutants` changes the heart of the library one small change at a time,
runs the tests that reach the change, and names every change that no test notices.

Everything happens in copies of the tree. The tests of a room run once unchanged, with a record of the lines
that each test reaches; a change then meets those tests alone, the quickest first, until one fails. A change
that makes them several times slower counts as noticed. Changes that alter no result are listed in
`tools/equivalent_mutants.toml`, by module and source line, each with its reason. The exit status is 1 where a
change survives that is not listed there, or an entry there has no change any more.
"""

import argparse
import os
import random
import re
import sys
import tomllib
from itertools import zip_longest
from pathlib import Path

from tools.mutant_runs import tried
from tools.mutation import Mutant, mutants_of

HEART = (
    "prorl/metrics/*.py",
    "prorl/paths/mining.py",
    "prorl/semantic_ids/trie.py",
    "prorl/simulators/scoring.py",
    "prorl/policy/actions.py",
    "prorl/policy/beam.py",
    "prorl/policy/catalogue.py",
    "prorl/policy/decoding.py",
    "prorl/policy/unfinished.py",
    "prorl/guides/search.py",
    "prorl/guides/beam.py",
    "prorl/rl/*.py",
)
EQUIVALENT = Path("tools/equivalent_mutants.toml")
HEAD = "| module | mutants | tried | killed | equivalent | survivors |"


def known_equivalents(root: Path) -> list[dict[str, str]]:
    """The entries of `EQUIVALENT`: module, line, reason, and mutant where not all of the line are meant."""
    path = root / EQUIVALENT
    return tomllib.loads(path.read_text()).get("equivalent", []) if path.exists() else []


def is_meant(mutant: Mutant, entry: dict[str, str]) -> bool:
    """Whether an entry of `EQUIVALENT` is of `mutant`."""
    return (mutant.module, mutant.before) == (entry["module"], entry["line"]) and mutant.after == entry.get(
        "mutant", mutant.after
    )


def with_rows(page: str, rows: dict[str, tuple[int, ...]]) -> str:
    """`page` with its table's rows of modules replaced, or added, by `rows`."""
    table = dict(re.findall(r"^\| `(prorl/\S+)` \| (.+) \|$", page, re.MULTILINE))
    table |= {module: " | ".join(map(str, numbers)) for module, numbers in rows.items()}
    lines = [f"| `{module}` | {numbers} |" for module, numbers in sorted(table.items())]
    total = [sum(column) for column in zip(*(map(int, n.split(" | ")) for n in table.values()), strict=True)]
    lines += [f"| all | {' | '.join(map(str, total))} |"]
    before, _, behind = page.partition(HEAD)
    behind = re.sub(r"\A(\n\|.*)*", "", behind)
    return before + "\n".join([HEAD, "|---|" + "---:|" * 5, *lines]) + behind


def main(arguments: list[str]) -> int:
    """Try mutants; gives the exit status."""
    parser = argparse.ArgumentParser(
        prog="mutants", description="Find changes of the code that no test notices."
    )
    parser.add_argument("--modules", nargs="+", default=HEART, metavar="GLOB", help="default: the heart")
    parser.add_argument(
        "--tests", nargs="+", metavar="PATH", help="default: the folder that mirrors a module's"
    )
    parser.add_argument("--sample", type=int, metavar="N", help="N mutants of each module; default: all")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--list", action="store_true", help="name the mutants, try none")
    parser.add_argument(
        "--jobs",
        type=int,
        default=os.cpu_count(),
        metavar="N",
        help="mutants tried at a time; default: as many as cores",
    )
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="of trying: none is begun after them"
    )
    parser.add_argument(
        "--score", type=Path, metavar="FILE", help="write the score into the table of this page"
    )
    parser.add_argument(
        "--root", type=Path, default=Path(__file__).resolve().parent.parent, help="of the tree"
    )
    options = parser.parse_args(arguments)
    root = options.root.resolve()
    modules = sorted({str(p.relative_to(root)) for pattern in options.modules for p in root.glob(pattern)})
    found = {module: mutants_of(module, (root / module).read_bytes()) for module in modules}
    found = {module: mutants for module, mutants in found.items() if mutants}
    entries = [entry for entry in known_equivalents(root) if entry["module"] in modules]
    equivalent = {m for mutants in found.values() for m in mutants if any(is_meant(m, e) for e in entries)}
    samples = []
    for module, mutants in found.items():
        rest = [mutant for mutant in mutants if mutant not in equivalent]
        n = len(rest) if options.sample is None else min(len(rest), options.sample)
        places = random.Random(f"{options.seed}/{module}").sample(range(len(rest)), n)
        samples.append([rest[place] for place in (places if options.sample else sorted(places))])
    if options.sample:  # a mutant of each module in turn, so that all have had some when the time is over
        chosen = [mutant for turn in zip_longest(*samples) for mutant in turn if mutant]
    else:
        chosen = [mutant for sample in samples for mutant in sample]
    if options.list:
        for mutant in chosen:
            print(_described(mutant))
        return 0
    outcomes = []
    for one in tried(root, chosen, options.tests, options.jobs, options.minutes):
        outcomes.append(one)
        if not one.killed:
            print(f"{_described(one.mutant)}\n    survives {one.n_tests} tests that reach it", flush=True)
    survivors = [one for one in outcomes if not one.killed]
    idle = [e for e in entries if not any(is_meant(m, e) for m in found.get(e["module"], []))]
    for entry in idle:
        print(f"{EQUIVALENT}: {entry['module']}: no mutant is as described: {entry['line']}")
    rows = {
        module: (
            len(mutants),
            sum(one.mutant.module == module for one in outcomes),
            sum(one.mutant.module == module and one.killed for one in outcomes),
            sum(mutant in equivalent for mutant in mutants),
            sum(one.mutant.module == module for one in survivors),
        )
        for module, mutants in found.items()
    }
    print(with_rows(HEAD, rows))
    if options.score:
        options.score.write_text(with_rows(options.score.read_text(), rows))
    return 1 if survivors or idle else 0


def _described(mutant: Mutant) -> str:
    return f"{mutant.module}:{mutant.line}\n    {mutant.before}\n    {mutant.after}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

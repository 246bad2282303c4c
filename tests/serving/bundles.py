"""A released policy of a few items with random weights, and what stands in for its simulator."""

from pathlib import Path

import pyarrow as pa

from prorl.bundle.paths import GuidedPath, Judged
from prorl.bundle.policy import ReleasedPolicy
from prorl.bundle.writing import Released, write_bundle
from prorl.config.decoding import Decoding
from prorl.policy.checkpoints import save_policy
from prorl.tables import ITEMS, SEMANTIC_IDS, write_table
from tests.tiny_models import random_catalogue, random_policy

N_ITEMS = 40
ATTRIBUTES = ("Action", "Comedy", "Drama", "Sci-Fi")
TITLES = {
    1: "Alien (1979)",
    2: "Aliens (1986)",
    3: "Blade Runner (1982)",
    4: "The Piano (1993)",
    5: "Heat (1995)",
    6: "<script>document.title='owned'</script>",
    7: "<img src=x onerror=\"document.title='owned'\"> & Co",
    8: "Amélie (2001)",
    9: "A title that is so long that no card of any width could ever hold it on a single line of text (1999)",
}
RULES = Decoding(constrained=True, forbid=["repeats", "history", "target"], min_length=3, max_length=6)


def title(item: int) -> str:
    return TITLES.get(item, f"Film {item} ({1950 + item})")


def write_tiny_bundle(
    folder: Path,
    acceptances=(0.0, 0.5, 1.0),
    rules: Decoding = RULES,
    title_of=title,
    attributes=ATTRIBUTES,
) -> Path:
    """The bundle, written as the release stage does; raw ids are `m1`, `m2` .."""
    catalogue = random_catalogue(
        N_ITEMS, forbid=rules.forbid, min_length=rules.min_length, max_length=rules.max_length
    )
    if acceptances:
        object.__setattr__(catalogue, "acceptances", tuple(acceptances))
        object.__setattr__(catalogue, "acceptance", acceptances[-1])
    codes = catalogue.trie.item_codes[1:]
    tokens = catalogue.vocabulary.tokens(codes)
    ids, items, policy = folder / "ids.parquet", folder / "items.parquet", folder / "policy"
    numbers = range(1, N_ITEMS + 1)
    rows = [
        {"item": number, "codes": code, "tokens": token}
        for number, code, token in zip(numbers, codes.tolist(), tokens.tolist(), strict=True)
    ]
    write_table(ids, pa.Table.from_pylist(rows, schema=SEMANTIC_IDS), SEMANTIC_IDS)
    table = pa.table(
        {
            "item": list(numbers),
            "raw_id": [f"m{number}" for number in numbers],
            "title": [title_of(number) for number in numbers],
            "attributes": [sorted({attributes[number % 4], attributes[number % 3]}) for number in numbers],
            "text": ["" for _ in numbers],
        },
        schema=ITEMS,
    )
    write_table(items, table, ITEMS)
    save_policy(policy, random_policy(catalogue), catalogue, ids)
    bundle = folder / "bundle"
    write_bundle(
        bundle, Released("tiny", "prorl", policy, rules, [], 10, items, None, {}, {}, "A tiny policy.\n")
    )
    return bundle


class WithStandIn(ReleasedPolicy):
    """The policy with stand-ins for what needs a simulator, whose import takes seconds."""

    @property
    def has_simulator(self) -> bool:
        return True

    def judged(self, paths: list[GuidedPath], simulator: object = None) -> list[Judged]:
        """Interest doubles and the rank halves with every item; odd items are taken with .9, even with .3."""
        return [
            Judged(
                acceptance=tuple(0.9 if item.item % 2 else 0.3 for item in path.items),
                target_probability=tuple(0.001 * 2**step for step in range(len(path.items) + 1)),
                target_rank=tuple(1 + (N_ITEMS - 1) // 2**step for step in range(len(path.items) + 1)),
            )
            for path in paths
        ]

    def search(self, histories, target, *, length=None, avoid=(), acceptance=None):
        """Items in their order, for each history."""
        least = (length or (self.rules.min_length, self.rules.max_length))[0]
        found = []
        for history, towards in zip(histories, target, strict=True):
            others = {item.item for item in (*history, towards, *avoid)}
            items = tuple(item for item in self.items if item.item not in others)[:least]
            request = self.request(history, towards)
            found.append([GuidedPath(request.history, towards, items, (1.0,) * least, 1.0, ((),) * least)])
        return found

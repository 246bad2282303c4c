"""A log of 40 users and 60 items in the shape of real files."""

import random
from dataclasses import dataclass
from pathlib import Path

from prorl.config.mine import Mine
from prorl.config.prepare import Prepare
from prorl.datasets import DATASETS
from prorl.params import read_params
from prorl.paths.instances import mine
from prorl.paths.mine_told import told_of_mine
from prorl.paths.preparing import Prepared, prepare
from prorl.paths.telling import Told

PARAMS = read_params(Path(__file__).parents[2] / "params.yaml")
GENRES = ["Action", "Comedy", "Romance", "Sci-Fi", "Western"]
SOURCE = DATASETS["tabular"]


@dataclass
class Log:
    """Rows of both files: [user, item, time], and [item, title, attributes]."""

    interactions: list[list[str]]
    items: list[list[str]]
    delimiter: str = ","

    def write(self, folder: Path) -> Path:
        """Write both files as CSV or TSV, values as they are, and give the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        ending = {",": "csv", "\t": "tsv"}[self.delimiter]
        tables = {
            "interactions": [["user", "item", "timestamp"], *self.interactions],
            "items": [["item", "title", "attributes"], *self.items],
        }
        for name, rows in tables.items():
            lines = (self.delimiter.join(row) for row in rows)
            (folder / f"{name}.{ending}").write_text("\n".join(lines) + "\n")
        return folder


def reference() -> Log:
    """Nothing odd: each user has 14 different items, each item one or two of five genres."""
    drawn = random.Random(5)
    items = [
        [str(100 + i), f"Thing {i}", "|".join(drawn.sample(GENRES, drawn.choice([1, 1, 2])))]
        for i in range(60)
    ]
    interactions = [
        [str(user), items[i][0], str(1_500_000_000 + 40_000 * user + 30 * place)]
        for user in range(1, 41)
        for place, i in enumerate(drawn.sample(range(60), 14))
    ]
    return Log(interactions, items)


def settings_of(**changes) -> Prepare:
    """`prepare` without a k-core, and `changes`; those of `tabular` by their names."""
    section = PARAMS.section(Prepare)
    names = type(section.tabular).model_fields
    tabular = section.tabular.replace(**{name: changes.pop(name) for name in list(changes) if name in names})
    minima = {"min_user_interactions": 1, "min_item_interactions": 1}
    return SOURCE.completed(section.replace(**minima | {"tabular": tabular} | changes))


def prepared(folder: Path, **changes) -> Prepared:
    """The tables of the files in `folder`."""
    settings = settings_of(**changes)
    return prepare(SOURCE.read(folder, settings), settings, seed=1)


def mined(made: Prepared) -> tuple[dict, Told]:
    """The instances, histories of 3 items, and what is told of them."""
    settings = PARAMS.section(Mine).replace(history_length=3)
    tables, statistics = mine(made.interactions, made.items, made.splits, settings, (1,))
    return tables, told_of_mine(tables, statistics)

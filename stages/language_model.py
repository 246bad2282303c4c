"""Verdicts of a language model on which item may follow which: `stages/language_model.py <dataset>`."""

from prorl.config.language_model import LanguageModel
from prorl.config.logging import Logging
from prorl.files import write_json
from prorl.items.asking import follow_odds
from prorl.layout import Layout
from prorl.params import Params
from prorl.paths.mining import attribute_words
from prorl.paths.sequences import user_sequences
from prorl.paths.verdicts import agreement, occurring_pairs, share_attribute, verdict_table
from prorl.runtime import run_stage
from prorl.tables import INTERACTIONS, ITEMS, VERDICTS, read_table, write_table


def body(params: Params, dataset: str) -> None:
    layout, settings = Layout(dataset), params.section(LanguageModel, dataset)
    items = read_table(layout.items, ITEMS)
    pairs = occurring_pairs(user_sequences(read_table(layout.interactions, INTERACTIONS)))
    odds = follow_odds(items, pairs, settings, layout.said, params.section(Logging).every_seconds)
    feasible = odds > settings.margin
    by_attributes = share_attribute(attribute_words(items["attributes"], ignored=[]), pairs)
    write_table(layout.verdicts("language_model"), verdict_table(pairs, odds, feasible), VERDICTS)
    write_json(layout.metrics("language_model"), {"pairs": len(pairs), **agreement(feasible, by_attributes)})


if __name__ == "__main__":
    run_stage("language_model", body)

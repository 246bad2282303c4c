"""One simulator of one data set: trained on the full histories of training users, chosen on validation users,
reported on test users.
"""

import numpy as np

from prorl.config.logging import Logging
from prorl.config.simulator import Simulator
from prorl.devices import process
from prorl.files import write_json
from prorl.instances import users_by_split
from prorl.layout import Layout
from prorl.params import Params
from prorl.paths.sequences import read_sequences
from prorl.runtime import run_stage
from prorl.simulators.own import fit_own
from prorl.simulators.ranking import ranking_metrics
from prorl.simulators.recbole_training import train_by_recbole
from prorl.simulators.registry import Own, own_class, simulator_entry
from prorl.simulators.scoring import save_own, save_simulator
from prorl.simulators.training import last_item_ranks, popularity_ranks, train_simulator
from prorl.simulators.windows import of_users
from prorl.tables import SPLITS, n_rows
from prorl.training import Session


def body(params: Params, dataset: str, name: str) -> None:
    entry = simulator_entry(params, dataset, name)
    settings, logging = params.section(Simulator, dataset), params.section(Logging)
    layout = Layout(dataset)
    sequences, users = read_sequences(layout.interactions), users_by_split(layout.splits)
    split = {name: of_users(sequences, users[name]) for name in SPLITS}
    n_items = n_rows(layout.items)
    data = split["train"], split["validation"], n_items
    stage, folder, inputs = f"simulator/{name}", layout.simulator(name), [layout.prepared]
    read = [name, settings.read_by(name), params.seed]
    session = Session.of(layout, stage, __file__, inputs, read, logging)
    if isinstance(entry, Own):
        if not process().is_main_process:  # a class of one's own is fitted by one process
            return
        simulator = fit_own(entry.kind, name, settings, *data, params.seed, session.curves)
        training = {}
        save_own(folder, simulator, name, own_class(params, dataset, name))
    else:
        if settings.trainer == "recbole":
            if not process().is_main_process:  # RecBole trains in one process
                return
            simulator, training = train_by_recbole(name, *data, settings, params.seed, session.curves)
        else:
            simulator, training = train_simulator(name, *data, settings, params.seed, session)
        if not process().is_main_process:  # of several that train, one writes
            return
        sizes = getattr(settings, name).model_dump()
        save_simulator(folder, simulator.model, name, sizes, settings.max_length)
    counts = np.bincount(split["train"].items, minlength=n_items + 1)
    judged = ("validation", "test")
    write_json(
        layout.metrics(stage),
        {
            **{s: ranking_metrics(last_item_ranks(simulator, split[s], settings.max_length)) for s in judged},
            "popularity": {s: ranking_metrics(popularity_ranks(counts, split[s])) for s in judged},
            "n_items": n_items,
            "untouched_items": int((counts[1:] == 0).sum()),
            **training,
        },
    )
    session.checkpoint.remove()


if __name__ == "__main__":
    run_stage("simulator", body, ("dataset", "simulator"))

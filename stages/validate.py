"""How far one simulator can be believed, on users that it was not trained on."""

from prorl.config.validate import Validate
from prorl.devices import own_device
from prorl.evaluation.validation import JUDGED, validated
from prorl.files import write_json
from prorl.instances import users_by_split
from prorl.layout import Layout
from prorl.params import Params
from prorl.paths.mining import attribute_words
from prorl.paths.sequences import read_sequences
from prorl.runtime import run_stage
from prorl.simulators.registry import own_class
from prorl.simulators.scoring import load_simulator
from prorl.tables import ITEMS, read_table


def body(params: Params, dataset: str, name: str) -> None:
    """Ask the simulator about validation and test users."""
    layout, device = Layout(dataset), own_device()
    users = users_by_split(layout.splits)
    found = validated(
        load_simulator(layout.simulator(name), own_class(params, dataset, name), device),
        read_sequences(layout.interactions),
        {split: users[split] for split in ("train", *JUDGED)},
        attribute_words(read_table(layout.items, ITEMS)["attributes"], ignored=[]),
        params.section(Validate, dataset),
        device,
        params.seed,
    )
    write_json(layout.metrics(f"validate/{name}"), found)


if __name__ == "__main__":
    run_stage("validate", body, ("dataset", "simulator"))

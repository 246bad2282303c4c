"""One guide of one data set: fitted, where its kind is, with the best of the settings that are tried."""

from pathlib import Path
from typing import Any

from prorl.config.decoding import Decoding
from prorl.config.guide import Guide
from prorl.config.logging import Logging
from prorl.config.selection import Selection
from prorl.files import atomic_folder, read_json, write_json
from prorl.guides.registry import Named, read_guide
from prorl.layout import GUIDE_FILE, Layout
from prorl.params import Params
from prorl.runtime import run_stage


def body(params: Params, dataset: str, name: str) -> None:
    """Write the guide's folder."""
    layout = Layout(dataset)
    guide = read_guide(name, params.section(Guide), params.simulators, params.source)
    recorded = layout.inputs(f"guide/{name}")
    outside = read_json(recorded) if recorded.exists() else {}
    with atomic_folder(layout.guide(name)) as folder:
        if guide.entry.fit is None and len(guide.options) == 1:
            chosen = {"settings": guide.options[0].as_json(), "tried": [], "figures": {}}
        else:
            chosen = fitted(params, layout, guide, outside, folder)
        record = {"kind": guide.kind, "fitted": guide.entry.fit is not None, **chosen, "outside": outside}
        write_json(folder / GUIDE_FILE, record)


def fitted(
    params: Params, layout: Layout, guide: Named, outside: dict[str, str | None], folder: Path
) -> dict[str, Any]:
    """Fit the best of the guide's settings into `folder`; see `Fitting.chosen`."""
    # These take seconds to import, and most guides need none of them.
    from prorl.devices import own_device
    from prorl.evaluation.fitting import Fitting, validation_prompts
    from prorl.evaluation.judge import Judge
    from prorl.evaluation.kept import Store
    from prorl.evaluation.made_from import of_data, of_simulator
    from prorl.guide import GuideContext
    from prorl.guides.data import guide_data
    from prorl.paths.mining import attribute_words
    from prorl.simulators.registry import own_class
    from prorl.simulators.scoring import load_simulator
    from prorl.tables import ITEMS, read_table

    decoding, selection = params.section(Decoding), params.section(Selection)
    several = len(guide.options) > 1
    names = {name for option in guide.options for name in guide.simulators_named(option, params.simulators)}
    if several:
        names.add(selection.simulator)
    classes = {name: own_class(params, layout.dataset, name) for name in params.simulators if name in names}
    device = own_device()
    simulators = {name: load_simulator(layout.simulator(name), own, device) for name, own in classes.items()}
    words = attribute_words(read_table(layout.items, ITEMS)["attributes"], ignored=[])
    data = guide_data(layout)
    judge = None
    if several:
        prompts = validation_prompts(data.validation, selection, params.seed).to(device)
        main = {selection.simulator: simulators[selection.simulator]}
        judge = Judge(prompts, main, words, decoding.max_length, len(prompts), len(prompts), params.seed)
    fitting = Fitting(
        dataset=layout.dataset,
        context=GuideContext(
            simulators,
            decoding,
            words,
            data,
            device,
            "float32",
            params.seed,
            params.source,
            layout.guides,
        ),
        training_seed=params.training_seed,
        data=of_data(layout),
        simulators={name: of_simulator(layout, name, own) for name, own in classes.items()},
        outside=outside,
        logging=params.section(Logging),
        store=Store(layout.kept_guides),
        judge=judge,
    )
    return fitting.chosen(guide, selection, folder)


if __name__ == "__main__":
    run_stage("guide", body, ("dataset", "guide"))

"""Released policies: folders of their own that guide users anywhere, with figures and a model card."""

from typing import Any

from prorl.bundle.card import Card
from prorl.bundle.folder import read_bundle
from prorl.bundle.writing import Released, released_rules, titles_for_example, write_bundle
from prorl.config.decoding import Decoding
from prorl.config.embed import Embed
from prorl.config.fetch import Fetch
from prorl.config.finetune import Finetune
from prorl.config.guardrails import Guardrails
from prorl.config.heads import POLICIES
from prorl.config.mine import Mine
from prorl.config.policy import Policy
from prorl.config.prepare import Prepare
from prorl.config.pretrain import Pretrain
from prorl.config.quantize import Quantize
from prorl.config.reduce import Reduce
from prorl.config.release import Release
from prorl.config.selection import Selection
from prorl.config.simulator import Simulator
from prorl.datasets import DATASETS
from prorl.files import atomic_folder, read_json
from prorl.items.blocked import blocked_items
from prorl.layout import Layout
from prorl.params import Params
from prorl.policy.checkpoints import load_policy
from prorl.runtime import run_stage
from prorl.tables import ITEMS, read_frame

START, FINETUNED = POLICIES
UNCONSTRAINED = (
    "It was judged without constraints, where tokens may make no item; here it writes items alone."
)


def effective(params: Params, dataset: str) -> dict[str, Any]:
    """The settings that shape a policy, section by section."""
    sections = (
        params.section(Decoding),
        params.section(Fetch, dataset),
        params.section(Prepare, dataset),
        params.section(Mine, dataset),
        params.section(Embed, dataset),
        params.section(Reduce, dataset),
        params.section(Quantize, dataset),
        params.section(Simulator, dataset),
        params.section(Policy, dataset),
        params.section(Pretrain, dataset),
        params.section(Finetune, dataset),
        params.section(Guardrails, dataset),
    )
    seeds = {"seed": params.seed, "training_seed": params.training_seed}
    return seeds | {section.section: section.as_json() for section in sections}


def trained_against(params: Params, dataset: str, name: str) -> tuple[str, ...]:
    """The simulators that had a part in the training of policy `name`, or in the semantic IDs it writes."""
    finetuning, reduction = params.section(Finetune, dataset), params.section(Reduce, dataset)
    found = []
    if reduction.collaborative and params.section(Quantize, dataset).import_ is None:
        found.append(reduction.simulator)
    if name != FINETUNED or not finetuning.init_from:
        found.append(params.section(Pretrain, dataset).simulator)
    if name == FINETUNED:
        found.append(finetuning.simulator)
    return tuple(dict.fromkeys(found))


def body(params: Params, dataset: str) -> None:
    """Write a folder for each policy that is released, all of them or none."""
    layout, settings = Layout(dataset), params.section(Release, dataset)
    decoding, items = params.section(Decoding), read_frame(layout.items, ITEMS)
    blocked = blocked_items(items, params.section(Guardrails, dataset), params.source)
    evaluation = read_json(layout.metrics("evaluation"))
    validated = {name: read_json(layout.metrics(f"validate/{name}")) for name in params.simulators}
    gate, mined = read_json(layout.metrics("gate")), read_json(layout.metrics("mine"))
    source = params.section(Fetch, dataset).source or dataset
    history_length = params.section(Mine, dataset).history_length
    with atomic_folder(layout.all_released) as folder:
        for name in settings.policies:
            policy, catalogue = load_policy(layout.policy(name), decoding)
            test = {judge: evaluation[name][judge] for judge in params.simulators}
            of_start = None
            if name == FINETUNED and params.section(Finetune, dataset).init_from is None:
                of_start = {judge: evaluation[START][judge] for judge in params.simulators}
            own_gate = gate if name == gate["policy"] else None
            card = Card(
                name=name,
                dataset=dataset,
                n_parameters=sum(weight.numel() for weight in policy.parameters()),
                n_items=len(items),
                titles=titles_for_example(items.title.tolist(), items.raw_id.tolist()),
                test=test,
                start=of_start,
                gate=own_gate,
                validated=validated,
                judge=params.section(Selection).simulator,
                trained_against=trained_against(params, dataset, name),
                split=read_json(layout.metrics("prepare"))["split"],
                prompts=mined["instances"]["test"],
                rules=decoding,
                blocked=len(blocked),
                acceptances=catalogue.acceptances,
                acceptance=catalogue.acceptance,
                history_length=history_length,
                changed="" if decoding.constrained else UNCONSTRAINED,
                licence=settings.licence or DATASETS[source].licence,
            )
            write_bundle(
                folder / name,
                Released(
                    dataset=dataset,
                    name=name,
                    policy=layout.policy(name),
                    decoding=released_rules(decoding),
                    blocked=items.raw_id[items.item.isin(blocked)].tolist(),
                    history_length=history_length,
                    items=layout.items,
                    simulator=None if settings.simulator is None else layout.simulator(settings.simulator),
                    params=effective(params, dataset),
                    metrics={"test": test, "gate": own_gate},
                    card=card.text(),
                ),
            )
            read_bundle(folder / name)
            if own_gate is not None and not own_gate["passed"]:
                failed = [gate for gate, found in own_gate["gates"].items() if found["verdict"] != "pass"]
                print(f"release@{dataset}: {name} is released without passing the gates {', '.join(failed)}")


if __name__ == "__main__":
    run_stage("release", body)

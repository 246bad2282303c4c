"""What guides and judges are made from, as digests: data, simulators, code."""

import sys
from pathlib import Path

import prorl.policy.guide
import prorl.simulators.scoring
from prorl.config.section import Settings
from prorl.evaluation.kept import digest
from prorl.guides.modules import code_of, code_of_kind
from prorl.guides.registry import GUIDES, Named, texts_of
from prorl.layout import Layout


def of_data(layout: Layout) -> str:
    """Of the tables and instances that guides may learn from."""
    return digest(layout.prepared, *map(layout.instances, ("train", "validation")))


def of_simulator(layout: Layout, name: str, own_class: str | None) -> str:
    """Of a loaded simulator: its folder, and the code that scores, that of `own_class` where it has one."""
    scoring = code_of(Path(prorl.simulators.scoring.__file__))
    own = [] if own_class is None else [Path(str(sys.modules[own_class.partition(":")[0]].__file__))]
    return digest(layout.simulator(name), scoring, own)


def of_policy(layout: Layout, name: str) -> str:
    """Of one of the pipeline's policies."""
    return digest(layout.policy(name), code_of(Path(prorl.policy.guide.__file__)))


def of_guide(guide: Named, settings: Settings, data: str, simulators: dict[str, str]) -> str:
    """Of a guide with `settings`: its code, and that of other kinds that they name, the `data`, and those of
    `simulators` that it may use.
    """
    names, texts = guide.simulators_named(settings, simulators), texts_of(settings)
    entries = [guide.entry, *(entry for kind, entry in GUIDES.items() if kind in texts)]
    code = [code_of_kind(entry) for entry in entries]
    return digest(code, guide.kind, settings, data, [simulators[name] for name in names])

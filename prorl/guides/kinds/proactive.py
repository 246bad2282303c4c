"""Kinds after published methods that lead users to a target.

A guide's own module is imported in the function that builds or fits it, see `prorl.guides.registry`.
"""

from typing import TYPE_CHECKING, Any

from prorl.config.proactive import GraphPathSettings, IPGSettings, IRNSettings, LLMSettings, NextItemSettings
from prorl.guide import Guide, GuideContext, GuideEntry
from prorl.guides.kinds.floors import distances_of

if TYPE_CHECKING:
    from prorl.training import Session


def _next_item(settings: NextItemSettings, context: GuideContext) -> Guide:
    from prorl.guides.next_item import NextItemGuide
    from prorl.guides.writing import scoring

    name = settings.simulator
    simulator = scoring(context.simulators[name], name, f"{context.source}: {context.key}.simulator")
    distances = distances_of(settings.distance, name, context)
    return NextItemGuide(simulator, settings.k, distances, context.decoding)


def _graph_path(settings: GraphPathSettings, context: GuideContext) -> Guide:
    from prorl.guides.graph_path import GraphPathGuide

    return GraphPathGuide.build(context.data, settings.way, settings.power, context.decoding)


def _fit_irn(settings: IRNSettings, context: GuideContext, session: "Session") -> dict[str, Any]:
    from prorl.guides.irn_training import fit_irn

    return fit_irn(settings, context, session)


def _irn(settings: IRNSettings, context: GuideContext) -> Guide:
    from prorl.guides.irn import IRNGuide

    n_items = len(context.data.titles)
    return IRNGuide.load(context.folder, settings, n_items, context.decoding, context.device)


def _fit_ipg(settings: IPGSettings, context: GuideContext, session: "Session") -> dict[str, Any]:
    from prorl.guides.ipg import has_fitted

    if not has_fitted(settings):  # what clusters takes long to import
        return {}
    from prorl.guides.intents import fit_intents

    return fit_intents(settings, context)


def _ipg(settings: IPGSettings, context: GuideContext) -> Guide:
    from prorl.guides.ipg import IPGGuide

    return IPGGuide.build(settings, context)


def _llm_ipp(settings: LLMSettings, context: GuideContext) -> Guide:
    from prorl.guides.llm_ipp import LLMGuide

    return LLMGuide.build(settings, context)


PROACTIVE: dict[str, GuideEntry] = {
    "next_item": GuideEntry(NextItemSettings, _next_item),
    "graph_path": GuideEntry(GraphPathSettings, _graph_path),
    "irn": GuideEntry(IRNSettings, _irn, _fit_irn),
    "ipg": GuideEntry(IPGSettings, _ipg, _fit_ipg),
    "llm_ipp": GuideEntry(LLMSettings, _llm_ipp),
}

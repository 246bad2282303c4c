"""Kinds that search on a simulator, and policies of one's own.

A guide's own module is imported in the function that builds it, see `prorl.guides.registry`.
"""

from typing import Any

from prorl.config.decoding import Decoding
from prorl.config.guide import (
    BeamSettings,
    LookaheadSettings,
    PolicySettings,
    RulesSettings,
    SearchSettings,
)
from prorl.config.section import ConfigError
from prorl.errors import DataError
from prorl.guide import Guide, GuideContext, GuideEntry


def _ruled(settings: RulesSettings, decoding: Decoding, context: GuideContext) -> Decoding:
    """The rules `decoding`, with those that the guide has of its own."""
    if settings.min_length is None:
        return decoding
    key = f"{context.source}: {context.key}.min_length"
    if not decoding.constrained or settings.min_length > decoding.max_length:
        allowed = f"at most {decoding.max_length}, the longest path" if decoding.constrained else "null"
        where = "" if decoding.constrained else " where decoding.constrained is false"
        raise ConfigError(f"{key}: got {settings.min_length}, allowed{where}: {allowed}")
    return decoding.replace(min_length=settings.min_length)


def _searched(settings: SearchSettings, context: GuideContext) -> dict[str, Any]:
    """What every search is made of."""
    from prorl.simulators.protocol import branching

    name = settings.simulator
    return {
        "simulator": branching(context.simulators[name], name, f"{context.source}: {context.key}.simulator"),
        "decoding": _ruled(settings, context.decoding, context),
        "n_candidates": settings.n_candidates,
        "weights": settings.weights,
        "attribute_words": context.attribute_words,
    }


def _search(settings: SearchSettings, context: GuideContext) -> Guide:
    from prorl.guides.search import SearchGuide

    return SearchGuide(**_searched(settings, context))


def _lookahead(settings: LookaheadSettings, context: GuideContext) -> Guide:
    from prorl.guides.lookahead import LookaheadGuide

    return LookaheadGuide(**_searched(settings, context), ahead=settings.ahead)


def _beam(settings: BeamSettings, context: GuideContext) -> Guide:
    from prorl.guides.beam import BeamSearchGuide

    return BeamSearchGuide(**_searched(settings, context), width=settings.width)


def _policy(settings: PolicySettings, context: GuideContext) -> Guide:
    from prorl.policy.guide import PolicyGuide

    decoding = None if settings.own_rules else context.decoding
    guide = PolicyGuide.load(settings.path, decoding, context.device, context.precision)
    try:
        guide = guide.blocking(context.decoding.blocked)
    except ConfigError as error:
        raise ConfigError(f"{context.source}: {context.key}.own_rules: {error}") from error
    if settings.acceptance is not None:
        try:
            guide = guide.told(settings.acceptance)
        except ConfigError as error:
            raise ConfigError(f"{context.source}: {context.key}.{error}") from error
    guide = guide.under(_ruled(settings, guide.catalogue.decoding, context))
    found, needed = guide.catalogue.decoding.max_length, context.decoding.max_length
    if found != needed:  # all guides' paths are judged side by side
        allowed = f"{needed}, that of {context.source}, where a guide has own_rules"
        raise DataError(f"{settings.path}/prorl.json: decoding.max_length: got {found}, allowed: {allowed}")
    return guide


SEARCHES: dict[str, GuideEntry] = {
    "search": GuideEntry(SearchSettings, _search),
    "lookahead": GuideEntry(LookaheadSettings, _lookahead),
    "beam": GuideEntry(BeamSettings, _beam),
    "policy": GuideEntry(PolicySettings, _policy),
}

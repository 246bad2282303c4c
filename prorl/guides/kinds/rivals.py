"""Kinds that are fitted to a simulator: bandits, and reinforcement learning as in production.

A guide's own module is imported in the function that names it here, see `prorl.guides.registry`.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import TYPE_CHECKING, Any, Protocol

from prorl.config.rivals import (
    DQNSettings,
    ImpatientSettings,
    LinUCBSettings,
    OffPolicySettings,
    TwoCriticsSettings,
    UtilityTuningSettings,
)
from prorl.config.section import Settings
from prorl.guide import Guide, GuideContext, GuideEntry

if TYPE_CHECKING:
    from prorl.training import Session


class FittedModule(Protocol):
    """The module of a guide that is fitted before it is built; see `GuideEntry`."""

    def fit(self, settings: Any, context: GuideContext, session: "Session") -> dict[str, Any]:
        """Train, write what `build` needs, and give figures."""
        ...

    def build(self, settings: Any, context: GuideContext) -> Guide:
        """The guide that was fitted."""
        ...


def _fitted(settings: type[Settings], module: Callable[[], FittedModule]) -> GuideEntry:
    """The kind whose `fit` and `build` are those that `module` imports.

    Both stand for `module`, by which it is known what code the kind is made of: `prorl.guides.modules`.
    """

    @wraps(module)
    def fit(own: Any, context: GuideContext, session: "Session") -> dict[str, Any]:
        return module().fit(own, context, session)

    @wraps(module)
    def build(own: Any, context: GuideContext) -> Guide:
        return module().build(own, context)

    return GuideEntry(settings, build, fit)


def _linucb() -> FittedModule:
    from prorl.guides import linucb

    return linucb


def _off_policy_reinforce() -> FittedModule:
    from prorl.guides import off_policy_reinforce

    return off_policy_reinforce


def _dqn() -> FittedModule:
    from prorl.guides import dqn

    return dqn


def _two_critics() -> FittedModule:
    from prorl.guides import two_critics

    return two_critics


def _utility_tuning() -> FittedModule:
    from prorl.guides import utility_tuning

    return utility_tuning


def _parts(
    settings: ImpatientSettings, context: GuideContext
) -> dict[str, tuple[GuideEntry, Settings, GuideContext]]:
    """The guides that `settings` name to choose from: kind, settings and a context of its own."""
    from prorl.guides.registry import choices

    start, simulators = f"{context.key}.guides", list(context.simulators)
    return {
        name: (
            own.entry,
            own.options[0],
            replace(context, key=f"{start}.{name}", folder=context.folder / name),
        )
        for name, own in choices(settings, start, simulators, context.source).items()
    }


def _fit_impatient(settings: ImpatientSettings, context: GuideContext, session: "Session") -> dict[str, Any]:
    from prorl.guides.impatient import fit

    return fit(settings, context, session, _parts(settings, context))


def _impatient(settings: ImpatientSettings, context: GuideContext) -> Guide:
    from prorl.guides.impatient import build

    return build(context, _parts(settings, context))


RIVALS: dict[str, GuideEntry] = {
    "linucb": _fitted(LinUCBSettings, _linucb),
    "off_policy_reinforce": _fitted(OffPolicySettings, _off_policy_reinforce),
    "dqn": _fitted(DQNSettings, _dqn),
    "two_critics": _fitted(TwoCriticsSettings, _two_critics),
    "utility_tuning": _fitted(UtilityTuningSettings, _utility_tuning),
    "impatient": GuideEntry(ImpatientSettings, _impatient, _fit_impatient),
}

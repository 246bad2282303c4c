"""What callers ask for, their names found: first calls, and those that go on from a path."""

import secrets
from dataclasses import replace

from prorl.bundle.items import Item
from prorl.bundle.policy import ReleasedPolicy
from prorl.config.section import ConfigError
from prorl.errors import DataError
from prorl.offpolicy.users import keyed_hash
from prorl.serving.problems import Problem
from prorl.serving.remembered import Call, Remembered, Shown
from prorl.serving.schemas import GuideBody
from prorl.serving.settings import Serve

SEED_BITS = 30  # what keyed draws take without overflow; a seed and a number make 60
SUGGESTED = 5


class Calls:
    """Makes calls of bodies, for `policy`; `key`: of users' hashes, None where nothing is logged."""

    def __init__(self, policy: ReleasedPolicy, settings: Serve, remembered: Remembered, key: bytes | None):
        self._policy, self._settings, self._remembered, self._key = policy, settings, remembered, key

    def of(self, body: GuideBody) -> Call:
        """What `body` asks for. Raises `Problem` for what is not allowed."""
        self._check_limits(body)
        for place, text in enumerate(body.avoid):
            self._check_avoided(text, f"avoid[{place}]")
        user = keyed_hash(body.user, self._key) if body.user is not None and self._key else None
        if body.previous is not None:
            return self._next(body, self._remembered.find(body.previous, body.path, "previous"), user)
        assert body.history is not None, "checked by GuideBody"
        assert body.target is not None, "checked by GuideBody"
        had = [self._find(text, f"history[{place}]") for place, text in enumerate(body.history)]
        target = self._find(body.target, "target")
        counted = tuple(had[-self._policy.history_length :])
        rules = self._policy.rules
        length = _ends(body.length) or (max(1, rules.min_length), rules.max_length)
        return self._call(body, counted, target, length, body.acceptance, frozenset(), user)

    def _check_limits(self, body: GuideBody) -> None:
        limits = (
            ("history", len(body.history or ()), self._settings.max_history),
            ("avoid", len(body.avoid), self._settings.max_avoid),
            ("n", body.n, 1 if body.guide == "search" else self._settings.max_paths),
        )
        for field, found, most in limits:
            if found > most:
                raise Problem(422, f"{field}: got {found}, allowed: at most {most}", field)

    def _find(self, text: str, field: str) -> Item:
        """The item called `text`; the `Problem` of an unknown one has suggestions."""
        try:
            return self._policy.items.find(text)
        except DataError as error:
            near = self._policy.items.search(text, SUGGESTED) if text.strip() else []
            raise Problem(422, f"{field}: {error}", field, near) from None

    def _check_avoided(self, text: str, field: str) -> None:
        if text.strip().casefold() not in {name.casefold() for name in self._policy.items.with_attribute}:
            self._find(text, field)

    def _next(self, body: GuideBody, shown: Shown, user: str | None) -> Call:
        """The call that goes on from a path: its accepted items belong to the history, its refused ones are
        avoided, and the path is shorter by what was accepted.
        """
        before = shown.call
        accepted, refused = shown.accepted[body.path], shown.refused[body.path]
        least, most = before.length[0] - len(accepted), before.length[1] - len(accepted)
        if most < 1 or before.request.target in accepted:
            raise Problem(409, "previous: the path is over: nothing is left of it to guide along", "previous")
        had = (*before.had, *accepted)
        avoid = before.request.avoid | {item.item for item in refused}
        if "history" in self._policy.rules.forbid:  # also what no longer counts, as in a path that goes on
            avoid |= {item.item for item in had[: -self._policy.history_length]}
        length = _ends(body.length) or (max(1, least), most)
        acceptance = before.request.acceptance if body.acceptance is None else body.acceptance
        return self._call(body, had, before.request.target, length, acceptance, avoid, user or before.user)

    def _call(
        self,
        body: GuideBody,
        had: tuple[Item, ...],
        target: Item,
        length: tuple[int, int],
        acceptance: float | None,
        avoid: frozenset[int],
        user: str | None,
    ) -> Call:
        """The call, its settings checked; explored paths are drawn anew at every call."""
        samples = body.guide == "policy"
        try:
            request = self._policy.request(
                had,
                target,
                length=length,
                avoid=body.avoid,
                acceptance=acceptance,
                n=body.n,
                temperature=self._settings.explore if samples else None,
            )
        except (ConfigError, DataError) as error:
            raise Problem(422, str(error), str(error).split(":")[0]) from None
        request = replace(request, avoid=request.avoid | avoid)
        if self._settings.explore is not None:
            seed, number = secrets.randbits(SEED_BITS), secrets.randbits(SEED_BITS)
            request = replace(request, seed=seed, number=number)
        return Call(request, body.guide, body.judge, had, length, user)


def _ends(length: int | list[int] | None) -> tuple[int, int] | None:
    return (length, length) if isinstance(length, int) else None if length is None else (length[0], length[1])

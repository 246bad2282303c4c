"""A released policy: `load_policy(folder).guide(histories, target)`.

It needs torch, safetensors, pyarrow and pydantic alone. What a simulator says of paths, and searching on
one, need the extra `pipeline`, which is imported where it is asked for.
"""

import importlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from prorl.bundle.asking import Histories, Length, Named, Requests, Targets
from prorl.bundle.folder import PARAMS_FILE, Bundle, read_bundle
from prorl.bundle.hub import copy_files, local_folder, upload
from prorl.bundle.paths import GuidedPath, GuideRequest, Judged, reasons
from prorl.checkpoint import read_config, whole_number
from prorl.config.decoding import Decoding
from prorl.config.pretrain import SearchWeights
from prorl.config.section import ConfigError, build
from prorl.errors import DataError
from prorl.extras import need_recbole
from prorl.policy.catalogue import Asked, Catalogue
from prorl.policy.decoding import keyed_uniforms, likeliest, sampled
from prorl.t5.folds import Folds

AT_ONCE = 1024  # paths that are decoded together
Paths = list[GuidedPath] | list[list[GuidedPath]]  # for one history, or a list for each of several


def load_policy(
    name: str | Path, device: torch.device | str | None = None, revision: str | None = None
) -> "ReleasedPolicy":
    """The released policy in the folder `name`, or in the repository `name` on the Hugging Face Hub at
    `revision`, on `device`; None: on a GPU where there is one.

    Raises `DataError` for a folder that is none, see `prorl.bundle.folder.read_bundle`, and `ConfigError`
    where the hub is asked for and its package is not installed.
    """
    return ReleasedPolicy(read_bundle(local_folder(name, revision)), device)


class ReleasedPolicy:
    """Guides users over the items of its catalogue.

    name, dataset: of the policy and the data it was trained on; version: 12 hexadecimal digits that change
    with its weights, semantic IDs or rules; acceptances: how much acceptance may count, as it can be told;
    acceptance: what it is told where nobody says another, None where it is not told; rules: what its paths
    keep; history_length: the items of a history that count.
    """

    def __init__(self, bundle: Bundle, device: torch.device | str | None = None):
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.folder, self.items, self.version = bundle.folder, bundle.items, bundle.version
        self.name: str = bundle.own["name"]
        self.dataset: str = bundle.own["dataset"]
        self.history_length: int = bundle.own["history_length"]
        self._bundle, self._catalogue = bundle, bundle.catalogue.to(self.device)
        policy = bundle.policy.to(self.device).eval().requires_grad_(False)
        self._folds = Folds(policy)
        self._simulators: dict[Path, Any] = {}
        self._requests = Requests(self.items, self._catalogue, self.history_length)

    @property
    def acceptances(self) -> tuple[float, ...]:
        """How much acceptance may count, as the policy can be told; empty where it is not told."""
        return self._catalogue.acceptances

    @property
    def acceptance(self) -> float | None:
        """The one of `acceptances` that it is told where nobody says another."""
        return self._catalogue.acceptance

    @property
    def rules(self) -> Decoding:
        """The rules that its paths keep, unless another length or items to avoid are asked for."""
        return self._catalogue.decoding

    @property
    def has_simulator(self) -> bool:
        """Whether a simulator came along, which judges paths and can be searched on."""
        return self._bundle.simulator is not None

    def guide(
        self,
        histories: Histories,
        target: Targets,
        *,
        length: Length = None,
        avoid: Iterable[Named] = (),
        acceptance: float | None = None,
        n: int = 1,
        temperature: float | None = None,
        seed: int = 0,
        shown: Iterable[Named] | None = None,
    ) -> Paths:
        """Paths that lead users towards `target`: `n` for one history, or a list of `n` for each of several.

        histories: one or several, oldest item first; their last `history_length` items count, and none of
        them is shown again where the rules forbid it. target: one for all, or one for each history. Items are
        named by raw id or title. length: exactly, or (least, most). avoid: attributes and items that no path
        may hold; shown: items that were shown before, to which the same applies. acceptance: one of
        `acceptances`. temperature: that paths are sampled at; None is the greedy path, or, for more than one,
        1. What is drawn depends on `seed` and on a history's place among `histories`.

        Raises `DataError` for items that are not there, and `ConfigError` for other values that are not
        allowed.
        """
        asked = {"length": length, "avoid": avoid, "shown": shown, "acceptance": acceptance}
        drawn = {"n": n, "temperature": temperature, "seed": seed}
        return self._of_all(histories, target, self.guide_each, **asked, **drawn)

    def request(self, history: Sequence[Named], target: Named, **settings: Any) -> GuideRequest:
        """A request for `guide_each`, with the settings of `guide`; raises as that does."""
        return self._requests.of(history, target, **settings)

    def guide_each(self, requests: Sequence[GuideRequest]) -> list[list[GuidedPath]]:
        """The paths of each of `requests`, in as few batches as their `n` and `temperature` allow."""
        batches: dict[tuple[int, float | None], list[int]] = defaultdict(list)
        for place, request in enumerate(requests):
            batches[request.n, request.temperature].append(place)
        found: list[list[GuidedPath]] = [[] for _ in requests]
        for (n, _), places in batches.items():
            at_once = max(1, AT_ONCE // n)
            for first in range(0, len(places), at_once):
                part = places[first : first + at_once]
                for place, paths in zip(part, self._batch([requests[i] for i in part]), strict=True):
                    found[place] = paths
        return found

    def search(
        self,
        histories: Histories,
        target: Targets,
        *,
        length: Length = None,
        avoid: Iterable[Named] = (),
        acceptance: float | None = None,
        n: int = 1,
        shown: Iterable[Named] | None = None,
        simulator: Any = None,
    ) -> Paths:
        """Paths found by searching on a simulator, one for each history, with the weights of the policy's
        teacher, but without a look ahead.

        `simulator` as for `judged`, the others as for `guide`; `n` is 1, since a search finds one path.
        Raises as these do.
        """
        if n != 1:
            raise ConfigError(f"n: got {n}, allowed: 1, since a search finds one path")
        asked = {"length": length, "avoid": avoid, "shown": shown, "acceptance": acceptance}
        return self._of_all(histories, target, partial(self._searched, simulator), **asked)

    def _of_all(
        self,
        histories: Histories,
        target: Targets,
        paths: Callable[[list[GuideRequest]], list[list[GuidedPath]]],
        **settings: Any,
    ) -> Paths:
        """What `paths` gives for a request for each of `histories`; that of the one where one is given."""
        requests, several = self._requests.of_all(histories, target, **settings)
        found = paths(requests)
        return found if several else found[0]

    def _searched(self, simulator: Any, requests: list[GuideRequest]) -> list[list[GuidedPath]]:
        """The one path that a search finds for each of `requests`."""
        judging, own = self._judging(simulator, "searching")
        ruled = [(request, self.catalogue_of(request).decoding) for request in requests]
        search = self._search_settings()
        found = judging.searched(own, self.items, ruled, search, self.acceptance, self.device)
        return [[path] for path in found]

    def judged(self, paths: Sequence[GuidedPath], simulator: Any = None) -> list[Judged]:
        """What a simulator says of each of `paths`: acceptance, and the target's probability and rank.

        `simulator`: None for the one that came along, the folder of another over the same items, or an object
        with `score` as `prorl.simulators.protocol.Simulator` has it. Raises `ConfigError` where there is none
        or the extra `pipeline` is not installed, `DataError` for a folder that is none.
        """
        judging, own = self._judging(simulator, "judging paths")
        return judging.judge(own, list(paths), self.device)

    def _judging(self, simulator: Any, for_what: str) -> tuple[Any, Any]:
        """The module that knows simulators, and the simulator that `simulator` stands for."""
        need_recbole(for_what)
        judging = importlib.import_module("prorl.bundle.judging")
        if simulator is not None and not isinstance(simulator, str | Path):
            return judging, simulator
        folder = self._bundle.simulator if simulator is None else Path(simulator)
        if folder is None:
            raise ConfigError(f"{for_what}: {self.folder} holds no simulator; name one")
        if folder not in self._simulators:
            loaded = judging.simulator_in(folder, self.device)
            if loaded.n_items != len(self.items):
                raise DataError(
                    f"{folder}: got {loaded.n_items} items, allowed: the policy's {len(self.items)}"
                )
            self._simulators[folder] = loaded
        return judging, self._simulators[folder]

    def _search_settings(self) -> tuple[int, SearchWeights]:
        """Items that a search weighs at each step, and its weights: those of the policy's teacher.

        Raises `DataError` where `params.json` does not say them, `ConfigError` for weights that are none.
        """
        path = self.folder / PARAMS_FILE
        found: Any = read_config(path, needed=())
        for key in ("pretrain", "search"):
            if not isinstance(found, dict) or not isinstance(found.get(key), dict):
                raise DataError(f"{path}: pretrain.search: {key!r} is missing, which says how to search")
            found = found[key]
        if lacking := [key for key in ("n_candidates", "weights") if key not in found]:
            raise DataError(f"{path}: pretrain.search: {lacking[0]!r} is missing, which says how to search")
        weights = build(SearchWeights, found["weights"], "pretrain.search.weights", str(path))
        return whole_number(found, "n_candidates", path), weights

    def save_pretrained(self, folder: str | Path) -> None:
        """Write all files of the released policy into `folder`."""
        copy_files(self.folder, Path(folder))

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        token: str | None = None,
        revision: str | None = None,
        commit_message: str = "Upload of a released policy",
    ) -> str:
        """Upload all files of the released policy to `repo_id` on the Hugging Face Hub; the commit's URL.

        Raises `ConfigError` where the extra `pipeline` is not installed.
        """
        return upload(
            self.folder, repo_id, private=private, token=token, revision=revision, message=commit_message
        )

    def _batch(self, requests: list[GuideRequest]) -> list[list[GuidedPath]]:
        """The paths of `requests` of one `n` and one `temperature`."""
        n, temperature = requests[0].n, requests[0].temperature
        asked = self._asked(requests)
        if temperature is None:
            paths = likeliest(self._folds, self._catalogue, asked)
            propensities = torch.ones_like(paths.log_prob)
        else:
            uniforms = [
                keyed_uniforms(
                    request.seed,
                    torch.tensor([request.number], device=self.device),
                    n,
                    self._catalogue.n_tokens,
                )
                for request in requests
            ]
            paths = sampled(self._folds, self._catalogue, asked, torch.cat(uniforms), temperature)
            propensities = paths.log_prob.exp()
        return [
            [self._path(request, *path) for path in zip(items, probabilities, strict=True)]
            for request, items, probabilities in zip(
                requests, paths.items.tolist(), propensities.tolist(), strict=True
            )
        ]

    def _path(self, request: GuideRequest, numbers: list[int], propensities: list[float]) -> GuidedPath:
        items = tuple(self.items[number] for number in numbers if number)
        return GuidedPath(
            request.history,
            request.target,
            items,
            tuple(propensities[: len(items)]),
            propensities[len(items)],
            reasons(request.history, items),
        )

    def _asked(self, requests: list[GuideRequest]) -> Asked:
        """What is asked of the paths of `requests`, in their order."""
        alike: dict[tuple, list[int]] = defaultdict(list)
        for place, request in enumerate(requests):
            alike[request.length, request.avoid, request.acceptance].append(place)
        parts = [self._asked_alike([requests[place] for place in places]) for places in alike.values()]
        order = torch.tensor([place for places in alike.values() for place in places], device=self.device)
        return Asked.joined(parts)[order.argsort()]

    def _asked_alike(self, requests: list[GuideRequest]) -> Asked:
        """`_asked` of requests with the same rules."""
        catalogue, width = self.catalogue_of(requests[0]), self.history_length
        # Padding in front is masked, and what is told of positions is told by distances.
        histories = [[item.item for item in request.history] for request in requests]
        padded = [[0] * (width - len(history)) + history for history in histories]
        targets = [request.target.item for request in requests]
        return catalogue.asked(
            torch.tensor(padded, device=self.device), torch.tensor(targets, device=self.device)
        )

    def catalogue_of(self, request: GuideRequest) -> Catalogue:
        """The catalogue under the rules of `request`."""
        rules = self.rules
        if request.length is not None:
            rules = rules.replace(min_length=request.length[0], max_length=request.length[1])
        if request.avoid:
            rules = rules.blocking([*rules.blocked, *request.avoid])
        return replace(self._catalogue, decoding=rules).at(request.acceptance)

"""What a simulator says of guided paths, and paths found by searching on it. Needs the extra `pipeline`.

Shape key: `b` paths, `h` history, `t` path position.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from prorl.bundle.items import Items
from prorl.bundle.paths import GuidedPath, GuideRequest, Judged, reasons
from prorl.config.decoding import Decoding
from prorl.config.policy import ctr_factor
from prorl.config.pretrain import SearchWeights
from prorl.guides.search import SearchGuide
from prorl.paths.mining import attribute_words
from prorl.prompts import Prompts
from prorl.simulators.protocol import Simulator, branching
from prorl.simulators.scoring import load_simulator


def simulator_in(folder: Path, device: torch.device) -> Any:
    """The simulator in `folder`, one of the library's; raises as `load_simulator` does."""
    return load_simulator(folder, None, device)


def judge(simulator: Simulator, paths: Sequence[GuidedPath], device: torch.device) -> list[Judged]:
    """What `simulator`, on `device`, says of each of `paths`."""
    found: dict[int, Judged] = {}
    for places in _by_length([path.history for path in paths]):  # a simulator takes no padding
        part = [paths[place] for place in places]
        history, target = _prompts(part, device)
        longest = max(1, *(len(path.items) for path in part))
        rows = [[item.item for item in path.items] for path in part]
        items = torch.tensor([row + [0] * (longest - len(row)) for row in rows], device=device)
        scores = simulator.score(history, items[:, None], target)
        columns = (scores.acceptance, scores.log_prob.exp(), scores.rank)
        for place, row, *values in zip(places, rows, *(c[:, 0].tolist() for c in columns), strict=True):
            acceptance, probability, rank = values
            found[place] = Judged(
                tuple(acceptance[: len(row)]),
                tuple(probability[: len(row) + 1]),
                tuple(int(place) for place in rank[: len(row) + 1]),
            )
    return [found[place] for place in range(len(paths))]


def searched(
    simulator: Simulator,
    items: Items,
    requests: Sequence[tuple[GuideRequest, Decoding]],
    settings: tuple[int, SearchWeights],
    headline: float | None,
    device: torch.device,
) -> list[GuidedPath]:
    """The path that a search on `simulator` finds for each of `requests`, under the rules beside it.

    settings: the items that are weighed at each step, and the weights of that; headline: the acceptance that
    its weight of CTR is given for, None where none is told. Raises `ConfigError` for a
    simulator that cannot be searched on.
    """
    alike: dict[tuple, list[int]] = defaultdict(list)
    for place, (request, _) in enumerate(requests):
        alike[request.length, request.avoid, request.acceptance, len(request.history)].append(place)
    words = attribute_words(
        pa.array([list(item.attributes) for item in items], pa.list_(pa.string())), ignored=[]
    )
    searching = branching(simulator, type(simulator).__name__, "search")
    (n_candidates, weights), found = settings, {}
    for places in alike.values():
        part = [requests[place][0] for place in places]
        guide = SearchGuide(searching, requests[places[0]][1], n_candidates, weights, words)
        if headline is not None and part[0].acceptance is not None:
            guide = guide.weighing(ctr_factor(part[0].acceptance, headline))
        history, target = _prompts(part, device)
        number = torch.arange(len(part), device=device)
        rows = guide.paths(Prompts(number, number, history, target)).tolist()
        for place, request, row in zip(places, part, rows, strict=True):
            path = tuple(items[item] for item in row if item)
            certain = (1.0,) * len(path)
            found[place] = GuidedPath(
                request.history, request.target, path, certain, 1.0, reasons(request.history, path)
            )
    return [found[place] for place in range(len(requests))]


def _by_length(histories: Sequence[Sequence]) -> list[list[int]]:
    """The places of `histories` with as many items."""
    places: dict[int, list[int]] = defaultdict(list)
    for place, history in enumerate(histories):
        places[len(history)].append(place)
    return list(places.values())


def _prompts(
    part: Sequence[GuidedPath] | Sequence[GuideRequest], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """History [b, h] and target [b] of paths or requests whose histories have as many items."""
    history = torch.tensor([[item.item for item in one.history] for one in part], device=device)
    return history, torch.tensor([one.target.item for one in part], device=device)

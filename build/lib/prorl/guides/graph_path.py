"""Pf2Inf: the cheapest way from the last item of the history to the target, through the graph of items that
follow each other.

Items are nodes. An edge joins two items that are adjacent in a training user's log, in either order; c such
pairs make it cost c^-power. The way is the cheapest of all (Dijkstra), or the only one within a minimum
spanning tree of the graph. It depends on the user by its start and by what the rules forbid alone.

Source: Zhu, Ge, Gong, Li, "Influential Recommender System", ICDE 2023 (arXiv 2211.10002); it was not
released. Departures: items that the rules forbid are nodes no cheapest way goes through; the way within the
tree leaves them out. A cheapest way is often shorter than the shortest path allowed. The cheapest detour is
then added again and again: an item between two neighbours of the way, start and target included, that costs
least more. Where there is no way, or no detour, the most popular items follow. A way is cut at the longest
length. Each item is shown once, whatever the rules.

Shape key: `b` prompts, `t` path position, `n` items.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra, minimum_spanning_tree

from prorl.config.decoding import Decoding
from prorl.guide import GuideData
from prorl.guides.popular import by_popularity
from prorl.guides.writing import packed
from prorl.paths.sequences import Sequences
from prorl.prompts import Prompts
from prorl.simulators.windows import of_users


def cooccurrences(sequences: Sequences, n_items: int) -> csr_matrix:
    """How often two items are adjacent in a sequence, in either order, [n+1, n+1] and symmetric; never an
    item with itself.
    """
    first, second = sequences.items[:-1].astype(np.int64), sequences.items[1:].astype(np.int64)
    user = np.repeat(np.arange(len(sequences)), sequences.lengths)
    adjacent = (user[:-1] == user[1:]) & (first != second)
    first, second = first[adjacent], second[adjacent]
    pairs = np.concatenate([first, second]), np.concatenate([second, first])
    return csr_matrix((np.ones(len(pairs[0])), pairs), shape=(n_items + 1, n_items + 1))


@dataclass(frozen=True)
class GraphPathGuide:
    """Goes the cheapest way, or that within the tree, along edges of costs [n+1, n+1]; `popular` [n]: all
    items, the most popular first.
    """

    costs: csr_matrix
    popular: np.ndarray
    way: str
    decoding: Decoding

    @classmethod
    def build(cls, data: GuideData, way: str, power: float, decoding: Decoding) -> "GraphPathGuide":
        """The guide on the logs of training users."""
        n_items = len(data.titles)
        costs = cooccurrences(of_users(data.sequences, data.train_users), n_items)
        costs.data = costs.data**-power
        return cls(costs, by_popularity(data, n_items), way, decoding)

    @property
    def n_items(self) -> int:
        """See `Guide.n_items`."""
        return len(self.popular)

    def paths(self, prompts: Prompts) -> torch.Tensor:
        """See `Guide.paths`."""
        history, target = prompts.history.cpu().numpy(), prompts.target.cpu().numpy()
        rows = [self._path(own.tolist(), int(towards)) for own, towards in zip(history, target, strict=True)]
        length = max((len(row) for row in rows), default=0)
        items = torch.tensor([row + [0] * (length - len(row)) for row in rows], dtype=torch.int64)
        items = items.view(len(rows), length).to(prompts.target.device)
        return packed(prompts, items, items != 0, self.decoding)

    def _path(self, history: list[int], target: int) -> list[int]:
        """The items of a path, too few where nothing is left."""
        rules = self.decoding
        closed = np.zeros(self.n_items + 1, dtype=bool)
        closed[[0, *rules.blocked]] = True
        if "history" in rules.forbid:
            closed[history] = True
        shows_target = "target" not in rules.forbid
        nodes = self._way(history[-1], target, closed)
        if nodes is None:
            way = []
        else:
            way = nodes[1:] if shows_target else nodes[1:-1]
            n_more = rules.min_length - len(way)
            if n_more > 0:
                nodes = self._with_detours(nodes, n_more, closed)
                way = nodes[1:] if shows_target else nodes[1:-1]
        if len(way) < rules.min_length:
            shut = {*way, target, *np.flatnonzero(closed)}
            way += [item for item in self.popular.tolist() if item not in shut][: rules.min_length - len(way)]
        return way

    def _way(self, start: int, target: int, closed: np.ndarray) -> list[int] | None:
        """The nodes from `start` to `target`, both included, without any that are `closed` [n+1] between
        them; None where there is no way.
        """
        if start == target:
            return None
        if self.way == "tree":
            nodes = _route(self._tree, start, target)
            return nodes and [nodes[0], *(node for node in nodes[1:-1] if not closed[node]), nodes[-1]]
        graph = self.costs.copy()
        closed = closed.copy()
        closed[[start, target]] = False
        graph.data = np.where(closed[self._edge_start] | closed[graph.indices], np.inf, graph.data)
        return _route(graph, start, target)

    @cached_property
    def _edge_start(self) -> np.ndarray:
        """Of every edge, in the order in which the graph stores them."""
        return np.repeat(np.arange(self.n_items + 1), np.diff(self.costs.indptr))

    @cached_property
    def _tree(self) -> csr_matrix:
        tree = minimum_spanning_tree(self.costs)
        return (tree + tree.T).tocsr()

    def _with_detours(self, nodes: list[int], n_more: int, closed: np.ndarray) -> list[int]:
        """`nodes` with up to `n_more` others between them, each the cheapest detour there is."""
        costs = [self._from(node) for node in nodes]
        shut = closed.copy()
        shut[nodes] = True
        for _ in range(n_more):
            best = np.inf, 0, 0
            for gap in range(len(nodes) - 1):
                detour = np.where(shut, np.inf, costs[gap] + costs[gap + 1])
                item = int(detour.argmin())
                direct = costs[gap][nodes[gap + 1]]
                best = min(best, (detour[item] - (direct if np.isfinite(direct) else 0.0), gap, item))
            if not np.isfinite(best[0]):
                break
            _, gap, item = best
            nodes = [*nodes[: gap + 1], item, *nodes[gap + 1 :]]
            costs.insert(gap + 1, self._from(item))
            shut[item] = True
        return nodes

    def _from(self, node: int) -> np.ndarray:
        """What the edges from `node` to all others cost, [n+1]; infinite where there is none."""
        costs = np.full(self.n_items + 1, np.inf)
        edges = slice(self.costs.indptr[node], self.costs.indptr[node + 1])
        costs[self.costs.indices[edges]] = self.costs.data[edges]
        return costs


def _route(graph: csr_matrix, start: int, target: int) -> list[int] | None:
    """The cheapest way from `start` to `target` along `graph`, both included; None where there is none."""
    distance, before = dijkstra(graph, indices=start, return_predecessors=True)
    if not np.isfinite(distance[target]):
        return None
    nodes = [target]
    while nodes[-1] != start:
        nodes.append(int(before[nodes[-1]]))
    return nodes[::-1]

"""Next-item metrics from the rank of the true item, as RecBole has them for one true item per user."""

import torch


def ranking_metrics(rank: torch.Tensor, top_k: int = 10) -> dict[str, float]:
    """MRR, recall and NDCG at `top_k` of ranks [u], 1 being best."""
    hit = (rank <= top_k).double()
    rank = rank.double()
    return {
        f"mrr@{top_k}": (hit / rank).mean().item(),
        f"recall@{top_k}": hit.mean().item(),
        f"ndcg@{top_k}": (hit / torch.log2(rank + 1)).mean().item(),
    }

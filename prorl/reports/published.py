"""Figures published for the method, and what differs from ours: for orientation, not for comparison digit by
digit.

Source: the paper of ProRL (ICML 2026, arXiv 2605.28293). Random targets, greedy paths, SASRec as simulator.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One method's published figures on one data set."""

    method: str
    ctr: float
    coherence: float
    ioi: float
    ior: float


PUBLISHED = {
    "MovieLens-1M": [
        Published("GRU4Rec, re-ranked towards the target", 0.514, 0.372, 1.635, 77),
        Published("BERT4Rec, re-ranked", 0.552, 0.389, 1.340, 56),
        Published("LightSANs, re-ranked", 0.521, 0.396, 1.609, 86),
        Published("FEARec, re-ranked", 0.516, 0.396, 1.877, 140),
        Published("IRN", 0.840, 0.471, 1.728, 443),
        Published("IPG", 0.446, 0.373, 2.254, 169),
        Published("ITMPRec", 0.445, 0.371, 2.272, 164),
        Published("LLM-IPP", 0.614, 0.629, 2.468, 663),
        Published("T-PRA", 0.489, 0.342, 2.487, 355),
        Published("Pre-trained policy only", 0.867, 0.749, 0.860, 254),
        Published("ProRL", 0.854, 0.842, 2.850, 728),
    ],
    "Steam": [
        Published("GRU4Rec, re-ranked towards the target", 0.431, 0.703, -0.024, 15),
        Published("BERT4Rec, re-ranked", 0.462, 0.739, -0.006, 22),
        Published("LightSANs, re-ranked", 0.422, 0.715, -0.020, 22),
        Published("FEARec, re-ranked", 0.433, 0.718, -0.022, 23),
        Published("IRN", 0.352, 0.670, -0.048, 30),
        Published("IPG", 0.237, 0.674, 0.176, 36),
        Published("ITMPRec", 0.238, 0.673, 0.180, 35),
        Published("LLM-IPP", 0.311, 0.802, 0.068, 11),
        Published("T-PRA", 0.271, 0.740, 0.334, 62),
        Published("Pre-trained policy only", 0.745, 0.949, 0.423, 101),
        Published("ProRL", 0.563, 0.871, 1.119, 340),
    ],
    "Amazon-Book": [
        Published("GRU4Rec, re-ranked towards the target", 0.554, 0.584, 0.093, 84),
        Published("BERT4Rec, re-ranked", 0.565, 0.559, 0.104, 79),
        Published("LightSANs, re-ranked", 0.563, 0.593, 0.211, 149),
        Published("FEARec, re-ranked", 0.554, 0.602, 0.367, 211),
        Published("IRN", 0.499, 0.548, 0.311, 171),
        Published("IPG", 0.502, 0.553, 1.107, 470),
        Published("ITMPRec", 0.502, 0.554, 1.098, 473),
        Published("LLM-IPP", 0.571, 0.513, 1.665, 429),
        Published("T-PRA", 0.552, 0.442, 1.726, 477),
        Published("Pre-trained policy only", 0.641, 0.689, 0.165, 73),
        Published("ProRL", 0.857, 0.678, 2.981, 1383),
    ],
}

# Our data set -> the published one that is the same or nearest to it.
NEAREST = {
    "ml-100k": "MovieLens-1M",
    "ml-1m": "MovieLens-1M",
    "steam": "Steam",
    "amazon-books": "Amazon-Book",
}

DIFFERENCES = [
    "Other users, items and simulators; a rank moves further where there are more items.",
    "Item embeddings of a large language model (Qwen3-Embedding-8B) alone behind the semantic IDs.",
    "Pre-training on mined paths alone, for 200 epochs, without paths found by search.",
    "Decoding without constraints: a path may repeat items, show items of the history, and give the target "
    "away.",
    "Checkpoints chosen by their score on the test users; here validation users choose, and the test users "
    "are read once.",
    "MovieLens timestamps ordered as text, so that some histories start with their last items.",
]

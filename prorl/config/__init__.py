"""Settings: one frozen dataclass per section of `params.yaml`. Nothing here has a default: `params.yaml`
states every value.

`prorl.params` reads them.
"""

from prorl.config.data import RQVAE, Embed, EmbeddingImport, Fetch, Mine, Prepare, Quantize, Reduce, Tabular
from prorl.config.fields import ConfigError, setting
from prorl.config.guidance import (
    A2C,
    KL,
    Clip,
    Decoding,
    Evaluate,
    Finetune,
    GRU4RecSizes,
    Logging,
    Policy,
    Pretrain,
    Report,
    RewardWeights,
    SASRecSizes,
    SearchWeights,
    Simulator,
    StopOnErrors,
)

__all__ = [
    "A2C",
    "GLOBAL_SECTIONS",
    "KL",
    "RQVAE",
    "SECTIONS",
    "Clip",
    "ConfigError",
    "Decoding",
    "Embed",
    "EmbeddingImport",
    "Evaluate",
    "Fetch",
    "Finetune",
    "GRU4RecSizes",
    "Logging",
    "Mine",
    "Policy",
    "Prepare",
    "Pretrain",
    "Quantize",
    "Reduce",
    "Report",
    "RewardWeights",
    "SASRecSizes",
    "SearchWeights",
    "Simulator",
    "StopOnErrors",
    "Tabular",
    "setting",
]

SECTIONS: dict[str, type] = {
    "decoding": Decoding,
    "logging": Logging,
    "fetch": Fetch,
    "prepare": Prepare,
    "mine": Mine,
    "embed": Embed,
    "reduce": Reduce,
    "quantize": Quantize,
    "simulator": Simulator,
    "policy": Policy,
    "pretrain": Pretrain,
    "finetune": Finetune,
    "evaluate": Evaluate,
    "report": Report,
}
GLOBAL_SECTIONS = ("decoding", "logging")  # without entries per data set

"""Raw interaction logs: where they come from and how they are read. To add a source, write one module and one entry."""

from prorl.datasets.movielens import ML_1M, ML_100K
from prorl.datasets.sources import Source

DATASETS: dict[str, Source] = {
    "ml-100k": ML_100K,
    "ml-1m": ML_1M,
}

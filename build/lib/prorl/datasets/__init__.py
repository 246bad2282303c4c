"""Raw interaction logs: where they come from and how they are read.

To add a source, write one module and one entry.
"""

from prorl.datasets.amazon_books import AMAZON_BOOKS
from prorl.datasets.movielens import ML_1M, ML_100K
from prorl.datasets.sources import Source
from prorl.datasets.steam import STEAM
from prorl.datasets.tabular import TABULAR

DATASETS: dict[str, Source] = {
    "ml-100k": ML_100K,
    "ml-1m": ML_1M,
    "steam": STEAM,
    "amazon-books": AMAZON_BOOKS,
    "tabular": TABULAR,
}

"""The quantisers by their name in `quantize.method`, and the way from vectors to semantic IDs.

To add a quantiser, write a module with one function, and an entry here. The function takes vectors [n, d],
the settings of `quantize` and a seed, and returns a `Quantised`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from prorl.config.embed import Embed
from prorl.config.quantize import Quantize
from prorl.config.section import ConfigError
from prorl.errors import DataError
from prorl.semantic_ids.residual import Quantised
from prorl.semantic_ids.rq_kmeans import rq_kmeans
from prorl.semantic_ids.rq_vae import rq_vae
from prorl.semantic_ids.unique_ids import imported, require_unique, with_final_code

QUANTISERS: dict[str, Callable[[np.ndarray, Quantize, int], Quantised]] = {
    "rq_kmeans": rq_kmeans,
    "rq_vae": rq_vae,
}


def require_quantiser(name: str) -> None:
    """Raises `ConfigError` where `QUANTISERS` holds no `name`."""
    if name not in QUANTISERS:
        allowed = ", ".join(QUANTISERS)
        raise ConfigError(f"params.yaml: quantize.method: got {name!r} (str), allowed: {allowed}")


def semantic_ids(
    vectors: np.ndarray, raw_ids: Sequence[str], settings: Quantize, seed: int
) -> tuple[np.ndarray, Quantised | None]:
    """Unique codes [n, k] of the items `raw_ids` with `vectors` [n, d], and the quantiser's result.

    The result is None for imported codes. k is `n_codebooks`, and one more with `expand_final`. Raises
    `DataError` where codes are not unique and cannot be made so, `ConfigError` for an unknown quantiser.
    """
    if len(vectors) != len(raw_ids):
        raise DataError(f"{len(vectors)} reduced vectors for {len(raw_ids)} items; they must be as many")
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise DataError(
            f"{len(bad)} of {len(vectors)} reduced vectors hold a number that is not finite, the first is "
            f"that of item {raw_ids[int(bad[0])]!r}"
        )
    if settings.import_ is not None:
        n_levels = settings.n_codebooks + settings.expand_final
        datamaps = Path(settings.datamaps) if settings.datamaps is not None else None
        codes = imported(Path(settings.import_), raw_ids, n_levels, settings.codebook_size, datamaps)
        return codes, None
    require_quantiser(settings.method)
    quantised = QUANTISERS[settings.method](vectors, settings, seed)
    if settings.expand_final:
        return with_final_code(quantised.codes, settings.codebook_size), quantised
    require_unique(
        quantised.codes, raw_ids, remedy="set quantize.expand_final, or quantize.balanced, to tell them apart"
    )
    return quantised.codes, quantised


def provenance(embed: Embed, quantize: Quantize) -> dict[str, str]:
    """The embedding model and the quantiser that made the semantic IDs, for people to read.

    Of an import it is the name of the file.
    """
    if quantize.import_ is not None:
        file = Path(quantize.import_).name
        return {
            "embedding_model": f"unknown, semantic IDs imported from {file}",
            "quantiser": f"imported from {file}",
        }
    model = f"imported from {Path(embed.import_.vectors).name}" if embed.import_ else embed.model
    return {"embedding_model": model, "quantiser": quantize.method}

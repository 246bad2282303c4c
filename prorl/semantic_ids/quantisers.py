"""The quantisers by their name in `quantize.method`, and the way from vectors to semantic IDs.

To add a quantiser, write a module with one function, and an entry here. The function takes vectors [n, d],
the settings of `quantize` and a seed, and returns a `Quantised`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from prorl.config.embed import Embed
from prorl.config.quantize import Quantize
from prorl.config.reduce import Reduce
from prorl.config.section import ConfigError
from prorl.errors import DataError
from prorl.items.matrices import CHUNK
from prorl.semantic_ids.residual import Quantised
from prorl.semantic_ids.rq_kmeans import rq_kmeans
from prorl.semantic_ids.rq_vae import rq_vae
from prorl.semantic_ids.unique_ids import imported, listed_codes, require_unique, with_final_code

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
    parts = (vectors[start : start + CHUNK] for start in range(0, max(len(vectors), 1), CHUNK))
    bad = np.flatnonzero(~np.concatenate([np.isfinite(part).all(axis=1) for part in parts]))
    if len(bad):
        raise DataError(
            f"{len(bad)} of {len(vectors)} reduced vectors hold a number that is not finite, the first is "
            f"that of item {raw_ids[int(bad[0])]!r}"
        )
    if settings.import_ is not None:
        return imported_codes(Path(settings.import_), raw_ids, settings), None
    require_quantiser(settings.method)
    quantised = QUANTISERS[settings.method](vectors, settings, seed)
    if settings.expand_final:
        return with_final_code(quantised.codes, settings.codebook_size), quantised
    require_unique(
        quantised.codes, raw_ids, remedy="set quantize.expand_final, or quantize.balanced, to tell them apart"
    )
    return quantised.codes, quantised


def imported_codes(path: Path, raw_ids: Sequence[str], settings: Quantize) -> np.ndarray:
    """Codes [n, k] made elsewhere, see `imported`; with `expand_final` the file may lack the last code.

    Where every item has `n_codebooks` codes then, the last is added as to those of our own quantisers.
    """
    n, size = settings.n_codebooks, settings.codebook_size
    datamaps = Path(settings.datamaps) if settings.datamaps is not None else None
    listed = listed_codes(path, datamaps)
    lacks_final = settings.expand_final and bool(raw_ids)
    if not lacks_final or not all(_has_codes(listed.get(raw_id), n) for raw_id in raw_ids):
        return imported(path, raw_ids, n + settings.expand_final, size, datamaps)
    for raw_id in raw_ids:
        if not all(0 <= code < size for code in listed[raw_id]):
            raise DataError(f"{path}: item {raw_id!r}: got codes {listed[raw_id]}, allowed: 0..{size - 1}")
    return with_final_code(np.array([listed[raw_id] for raw_id in raw_ids]), size)


def _has_codes(codes: object, n: int) -> bool:
    return isinstance(codes, list) and len(codes) == n and all(type(code) is int for code in codes)


def provenance(embed: Embed, reduce: Reduce, quantize: Quantize) -> dict[str, str | None]:
    """The embedding model, the simulator whose item vectors stand beside the embeddings, None where none do,
    and the quantiser that made the semantic IDs, for people to read.

    Of an import it is the name of the file.
    """
    if quantize.import_ is not None:
        file = Path(quantize.import_).name
        return {
            "embedding_model": f"unknown, semantic IDs imported from {file}",
            "beside_embeddings": None,
            "quantiser": f"imported from {file}",
        }
    model = f"imported from {Path(embed.import_.vectors).name}" if embed.import_ else embed.model
    return {
        "embedding_model": model,
        "beside_embeddings": reduce.simulator if reduce.collaborative else None,
        "quantiser": quantize.method,
    }

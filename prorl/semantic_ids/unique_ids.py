"""Semantic IDs, one unique tuple of codes per item: made unique, checked and written.

Shape key: `n` items, `l` levels of a quantiser, `k` codes of an item (`l`, and one more with a final code).
Row i of every array is item i + 1.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from prorl.errors import DataError
from prorl.semantic_ids.vocabulary import Vocabulary
from prorl.tables import SEMANTIC_IDS, imported_json, require_items, write_table


def with_final_code(codes: np.ndarray, codebook_size: int) -> np.ndarray:
    """Codes [n, l + 1], whose last code numbers the items with the same `codes` [n, l] from 1, in item order.

    Raises `DataError` naming the codes that more than `codebook_size - 1` items share.
    """
    _, group = np.unique(codes, axis=0, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    sizes = np.diff(starts, append=len(codes))
    if sizes.max(initial=0) > codebook_size - 1:
        shared = codes[order[starts[sizes.argmax()]]].tolist()
        raise DataError(
            f"{sizes.max()} items share the codes {shared}; allowed: at most {codebook_size - 1}, "
            "as many as the final code tells apart"
        )
    final = np.empty(len(codes), dtype=codes.dtype)
    final[order] = np.arange(len(codes)) - np.repeat(starts, sizes) + 1
    return np.column_stack([codes, final])


def require_unique(codes: np.ndarray, raw_ids: Sequence[str], remedy: str) -> None:
    """Raise `DataError` if two items have the same codes [n, k]; it names both, and the `remedy`."""
    _, first, group = np.unique(codes, axis=0, return_index=True, return_inverse=True)
    repeated = np.flatnonzero(first[group] != np.arange(len(codes)))
    if len(repeated):
        one, other = raw_ids[int(first[group[repeated[0]]])], raw_ids[int(repeated[0])]
        raise DataError(
            f"items {one!r} and {other!r} have the same codes {codes[repeated[0]].tolist()}; {remedy}"
        )


def listed_codes(path: Path, datamaps: Path | None = None) -> dict[str, Any]:
    """What the JSON file of codes made elsewhere has for each raw item id, as `imported` reads it.

    Raises `DataError` for a file that holds no object.
    """
    codes_of = imported_json(path, "quantize.import")
    if not isinstance(codes_of, dict):
        raise DataError(
            f"{path}: got {type(codes_of).__name__}, allowed: an object of raw item id -> list of codes"
        )
    return codes_of if datamaps is None else _by_raw_id(codes_of, path, datamaps)


def imported(
    path: Path, raw_ids: Sequence[str], n_levels: int, codebook_size: int, datamaps: Path | None = None
) -> np.ndarray:
    """Codes [n, k] made elsewhere, from a JSON object of raw item id -> list of `n_levels` codes.

    With `datamaps`, ids are internal ones, which `id2item` in that JSON leads to raw ones from. Entries of
    other items, such as those that the k-core dropped, are left out. Raises `DataError` for a file
    that is no such object, a missing item, a list of another length, a code that is no whole number or lies
    outside 0..`codebook_size` - 1, and two items with the same codes.
    """
    codes_of = listed_codes(path, datamaps)
    require_items(path, raw_ids, codes_of)
    for raw_id in raw_ids:
        codes = codes_of[raw_id]
        if (
            not isinstance(codes, list)
            or len(codes) != n_levels
            or not all(type(code) is int for code in codes)
        ):
            raise DataError(
                f"{path}: item {raw_id!r}: got {codes!r}, allowed: a list of {n_levels} whole numbers"
            )
        if not all(0 <= code < codebook_size for code in codes):
            raise DataError(f"{path}: item {raw_id!r}: got codes {codes}, allowed: 0..{codebook_size - 1}")
    codes = np.array([codes_of[raw_id] for raw_id in raw_ids])
    require_unique(codes, raw_ids, remedy=f"every item of {path} must have codes of its own")
    return codes


def _by_raw_id(codes_of: dict[str, Any], path: Path, datamaps: Path) -> dict[str, Any]:
    """`codes_of` internal ids, read from `path`, by raw ids. Raises `DataError` for an id without one."""
    maps = imported_json(datamaps, "quantize.datamaps")
    raw_of = maps.get("id2item") if isinstance(maps, dict) else None
    if not isinstance(raw_of, dict):
        raise DataError(f"{datamaps}: 'id2item' is missing; needed: internal item id -> raw item id")
    for internal in codes_of:
        if internal not in raw_of:
            raise DataError(f"{path}: item {internal!r} is unknown, allowed: one of id2item in {datamaps}")
    return {str(raw_of[internal]): codes for internal, codes in codes_of.items()}


def write_semantic_ids(path: Path, codes: np.ndarray, vocabulary: Vocabulary) -> None:
    """Write codes [n, k] and their tokens as the table of semantic IDs."""
    rows = {
        "item": np.arange(1, len(codes) + 1),
        "codes": codes.tolist(),
        "tokens": vocabulary.tokens(codes).tolist(),
    }
    write_table(path, pa.table(rows), SEMANTIC_IDS)

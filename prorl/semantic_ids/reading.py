"""The table of semantic IDs, as tensors.

Shape key: `n` items, `k` codes of an item. Row i of every tensor is item i + 1.
"""

from pathlib import Path

import torch

from prorl.errors import DataError
from prorl.tables import SEMANTIC_IDS, read_table


def read_semantic_ids(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes [n, k] and tokens [n, k], int64.

    Raises `DataError` if the items are not 1..n in order, differ in their number of codes or tokens, or lack
    one of them.
    """
    table = read_table(path, SEMANTIC_IDS)
    if table["item"].to_pylist() != list(range(1, table.num_rows + 1)):
        raise DataError(f"{path}: items must be 1..{table.num_rows}, in order")
    codes, tokens = (table[name].to_pylist() for name in ("codes", "tokens"))
    if len(widths := sorted({len(row or ()) for row in codes})) != 1:
        raise DataError(f"{path}: items with {widths} codes; all must have as many")
    for item, row in enumerate(tokens, start=1):
        if len(row or ()) != widths[0]:
            raise DataError(
                f"{path}: item {item}: got {len(row or ())} tokens, allowed: {widths[0]}, one per code"
            )
    for name, rows in (("codes", codes), ("tokens", tokens)):
        if lacking := [item for item, row in enumerate(rows, start=1) if None in (row or ())]:
            found = rows[lacking[0] - 1]
            raise DataError(f"{path}: item {lacking[0]}: {name}: got {found}, allowed: whole numbers")
    return torch.tensor(codes), torch.tensor(tokens)

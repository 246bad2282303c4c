"""From the profile texts of items to one vector per item.

By latent semantic analysis or a language model, or from a matrix made elsewhere.

Shape key: `n` items, `d` components. Row i of every matrix is item i + 1.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize
from threadpoolctl import threadpool_limits

from prorl.config.embed import Embed, EmbeddingImport
from prorl.config.section import ConfigError
from prorl.errors import DataError
from prorl.items.matrices import read_matrix
from prorl.items.words import share_of_single, words
from prorl.runtime import derived_seed
from prorl.tables import imported_json, require_items

MOST = 0.5  # of all words: where so many stand in one item alone, lsa is said to find little
LSA = "lsa"  # every other model is the name or path of a sentence-transformers model


def lsa(texts: Sequence[str], dimension: int, seed: int) -> np.ndarray:
    """Vectors of `texts` by latent semantic analysis, float32 [n, d].

    TF-IDF of the `words`, truncated SVD, L2-normalised rows; a text without a word is the zero vector. One
    thread, so that the same texts give the same bits. Raises `DataError` if no text holds a word,
    `ConfigError` if the texts hold too few distinct words for `dimension`. Source: Deerwester et al.,
    Indexing by Latent Semantic Analysis, 1990.
    """
    analyzer: Any = words  # scikit-learn's stubs know names alone
    vectorizer = TfidfVectorizer(analyzer=analyzer, sublinear_tf=True, dtype=np.float64)
    try:
        weights = vectorizer.fit_transform(texts)
    except ValueError as error:
        raise DataError(f"the {len(texts)} item profiles cannot be embedded: {error}") from error
    most = min(weights.shape) - 1
    if dimension > most:
        raise ConfigError(
            f"embed.dimension: got {dimension}, allowed: at most {most}, "
            f"one below the lesser of {weights.shape[0]} items and {weights.shape[1]} distinct words"
        )
    with threadpool_limits(1):
        vectors = TruncatedSVD(dimension, n_iter=7, random_state=seed).fit_transform(weights)
    return np.asarray(normalize(vectors), dtype=np.float32)


def imported(source: EmbeddingImport, raw_ids: Sequence[str]) -> np.ndarray:
    """Rows of a matrix made elsewhere for the items `raw_ids`, in that order, float32 [n, d].

    Rows of other items, such as those that the k-core dropped, are left out. Raises `DataError` for a file
    of the wrong kind or shape, an item listed twice, an item without a row, and a number that is not
    finite.
    """
    listed = imported_json(Path(source.items), "embed.import")
    if not isinstance(listed, list) or not all(isinstance(raw_id, str) for raw_id in listed):
        raise DataError(f"{source.items}: allowed: a JSON list of raw item ids, as text")
    vectors = read_matrix(Path(source.vectors))
    if len(listed) != len(vectors):
        raise DataError(
            f"{source.vectors} has {len(vectors)} rows, {source.items} {len(listed)} item ids; "
            "they must be as many"
        )
    row_of = {raw_id: row for row, raw_id in enumerate(listed)}
    if len(row_of) < len(listed):
        repeated = next(raw_id for row, raw_id in enumerate(listed) if row_of[raw_id] != row)
        raise DataError(f"{source.items}: item {repeated!r} stands more than once")
    require_items(Path(source.items), raw_ids, row_of)
    return np.asarray(vectors[[row_of[raw_id] for raw_id in raw_ids]], dtype=np.float32)


def embed(
    texts: Sequence[str],
    raw_ids: Sequence[str],
    settings: Embed,
    seed: int,
    checkpoints: Path,
    every_seconds: float,
) -> np.ndarray | None:
    """One vector per item, float32 [n, d], by the model that `settings` name.

    texts: profiles of the items `raw_ids`. Where accelerate started several processes, only the first gets
    the vectors, and the others get None. A language model uses all processes, keeps what it has done in the
    folder `checkpoints`, and reports progress every `every_seconds`.
    """
    if settings.import_ is None and settings.model != LSA:
        # Here, because LSA does without PyTorch and transformers, whose import takes seconds.
        from prorl.items.language_model import encode

        return encode(texts, settings, checkpoints, every_seconds)
    if int(os.environ.get("RANK", 0)) != 0:
        return None
    if settings.import_ is not None:
        return imported(settings.import_, raw_ids)
    if (single := share_of_single(texts)) > MOST:
        print(
            f"warning: {100 * single:.0f}% of the words of the item profiles stand in one item alone, so "
            "lsa finds "
            "little that items share; prepare.profile can add what they have in common, and a sentence "
            "encoder "
            "knows which words are alike",
            file=sys.stderr,
        )
    return lsa(texts, settings.dimension, derived_seed(seed, "embed"))

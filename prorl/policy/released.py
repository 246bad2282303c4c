"""Reads policies that the method's authors released: PyTorch files whose entry `model` holds the weights of a
T5 of Transformers under `t5.`.

Such a file states neither its items nor the width of its heads: items come from a table of semantic IDs,
sizes from settings.
"""

import pickle  # for the error that refuses a file; nothing is loaded with it  # nosec B403
from pathlib import Path

import torch

from prorl.config.decoding import Decoding
from prorl.config.policy import Policy as PolicySettings
from prorl.errors import DataError
from prorl.layout import IDS_FILE
from prorl.policy.catalogue import Catalogue
from prorl.policy.checkpoints import load_catalogue, load_policy
from prorl.t5.model import T5, T5Sizes

PREFIX = "t5."
# copies of `shared.weight`
TIED = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")


def load_start(
    start: Path, sizes: PolicySettings, semantic_ids: Path, decoding: Decoding
) -> tuple[T5, Catalogue, Path]:
    """The policy at `start`, its catalogue under the rules of `decoding`, and the table of its semantic IDs.

    A folder, as the stages write it, brings its own table. A released `.pth` file is of `sizes`, over the
    items of the table `semantic_ids`. Raises `DataError` as `load_policy` and `load_released` do.
    """
    if start.suffix == ".pth":
        return *load_released(start, sizes, semantic_ids, decoding), semantic_ids
    return *load_policy(start, decoding), start / IDS_FILE


def require_same_items(start: Path, catalogue: Catalogue, n_items: int, simulator: str) -> None:
    """Raises `DataError` where the policy at `start` is over other than the `n_items` of `simulator`, as one
    of another data set is: its items' numbers would mean others there.
    """
    if catalogue.trie.n_items != n_items:
        raise DataError(
            f"{start}: got a policy over {catalogue.trie.n_items} items, allowed: one over the {n_items} of "
            f"simulator {simulator}"
        )


def load_released(
    path: Path, sizes: PolicySettings, semantic_ids: Path, decoding: Decoding
) -> tuple[T5, Catalogue]:
    """The policy in `path`, of `sizes`, over the items of the table `semantic_ids`, under the rules of
    `decoding`.

    Nothing in the file is executed. Raises `DataError` for a file that is no such policy, or whose weights
    have other names or shapes, naming the first.
    """
    if sizes.target_tokens != "shared":
        raise DataError(
            f"{path}: a released policy has no token ids for targets alone; "
            "policy.target_tokens must be shared"
        )
    if sizes.identifiers != "semantic":
        raise DataError(f"{path}: a released policy has semantic IDs; policy.identifiers must be semantic")
    if sizes.acceptances:
        raise DataError(f"{path}: a released policy is told no acceptance; policy.acceptances must be empty")
    catalogue = load_catalogue(semantic_ids, decoding, sizes.target_tokens)
    weights = _untied(path, _stored_weights(path))
    policy = T5(
        T5Sizes(
            catalogue.vocabulary.size,
            sizes.n_layers,
            sizes.d_model,
            sizes.d_ff,
            sizes.d_kv,
            sizes.n_heads,
            sizes.dropout,
        )
    )
    own = policy.state_dict()
    for name in [*own, *weights]:
        if name not in weights:
            raise DataError(f"{path}: weight {PREFIX + name!r} is missing")
        if name not in own:
            raise DataError(
                f"{path}: weight {PREFIX + name!r} belongs to no part of a policy "
                "with the sizes of `policy` in params.yaml"
            )
        if weights[name].shape != own[name].shape:
            raise DataError(
                f"{path}: weight {PREFIX + name!r} has shape {list(weights[name].shape)}; "
                f"the sizes of `policy` in params.yaml and the codes in {semantic_ids} "
                f"make it {list(own[name].shape)}"
            )
    policy.load_state_dict(weights)
    return policy, catalogue


def _stored_weights(path: Path) -> dict[str, torch.Tensor]:
    """The weights in `path` by their names in T5."""
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise DataError(f"{path}: not readable as a PyTorch file of weights alone: {error}") from error
    model = stored.get("model") if isinstance(stored, dict) else None
    if not isinstance(model, dict):
        raise DataError(f"{path}: expected a mapping with an entry 'model' that holds the weights by name")
    for name, weight in model.items():
        if not (isinstance(name, str) and name.startswith(PREFIX) and isinstance(weight, torch.Tensor)):
            raise DataError(
                f"{path}: model: found {name!r} ({type(weight).__name__}), "
                f"allowed: tensors with names that start with {PREFIX!r}"
            )
    return {name.removeprefix(PREFIX): weight.float() for name, weight in model.items()}


def _untied(path: Path, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """`weights` without the copies of the token embeddings."""
    for name in TIED:
        if (
            name in weights
            and "shared.weight" in weights
            and not torch.equal(weights[name], weights["shared.weight"])
        ):
            raise DataError(
                f"{path}: weight {PREFIX + name!r} differs from {PREFIX + 'shared.weight'!r}; "
                "a policy has one table of embeddings"
            )
    return {name: weight for name, weight in weights.items() if name not in TIED}

"""Settings: one frozen dataclass per section of `params.yaml`, read strictly.

`params.yaml` states every value; nothing here has a default. A section's keys hold for all data sets, and its entry named
after a data set (`finetune.ml-100k`) overrides them for that one alone. A missing key, an unknown key, a wrong type or a
value out of range is a `ConfigError` that names file, key, value and what is allowed.
"""

import dataclasses
import difflib
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ruamel.yaml import YAML, YAMLError

PARAMS_FILE = Path("params.yaml")

Forbidden = Literal["repeats", "history", "target"]
Precision = Literal["float32", "bf16"]
Metric = Literal["ioi", "ior", "ctr", "coherence", "length", "distinct", "diversity"]


class ConfigError(ValueError):
    """A setting that is missing, unknown, of the wrong type or out of range."""


def setting(*, above: float | None = None, at_least: float | None = None, at_most: float | None = None, below: float | None = None):
    """A dataclass field whose number (or each number of a list) must lie within the given bounds."""
    return field(metadata={"above": above, "at_least": at_least, "at_most": at_most, "below": below})


@dataclass(frozen=True)
class Decoding:
    """What a path may hold, in search, rollouts, loss and evaluation alike."""

    forbid: list[Forbidden]
    min_length: int = setting(at_least=1, at_most=10)
    max_length: int = setting(at_least=1, at_most=30)


@dataclass(frozen=True)
class Logging:
    """How progress is shown."""

    every_seconds: float = setting(above=0)


@dataclass(frozen=True)
class Fetch:
    """Where the raw files of a data set come from."""

    source: str | None
    archive: str | None


@dataclass(frozen=True)
class Tabular:
    """Columns of a user's own tables: canonical name -> name in the file, null where the file has no such column."""

    interactions: dict[str, str]
    items: dict[str, str | None]
    separator: str


@dataclass(frozen=True)
class Prepare:
    """From raw logs to canonical tables."""

    min_user_interactions: int = setting(at_least=1)
    min_item_interactions: int = setting(at_least=1)
    split: list[float] = setting(above=0)
    attributes: list[str] = field()
    profile: list[str] = field()
    profiles: str | None = field()
    tabular: Tabular = field()


@dataclass(frozen=True)
class Mine:
    """From interactions to instances."""

    import_: str | None
    history_length: int = setting(at_least=1)
    min_run: int = setting(at_least=2)
    max_run: int = setting(at_least=2)
    ignored_attributes: list[str] = field()


@dataclass(frozen=True)
class EmbeddingImport:
    """Vectors made elsewhere: a `.npy` matrix, and a JSON list of the raw item id of each of its rows."""

    vectors: str
    items: str


@dataclass(frozen=True)
class Embed:
    """From item profile text to vectors."""

    import_: EmbeddingImport | None
    model: str
    dimension: int = setting(at_least=1)
    batch_size: int = setting(at_least=1)
    max_tokens: int = setting(at_least=1)
    precision: Precision = field()


@dataclass(frozen=True)
class Reduce:
    """Principal components of the embeddings."""

    dimension: int = setting(at_least=1)
    whiten: bool = field()


@dataclass(frozen=True)
class RQVAE:
    """Sizes and training of the residual-quantised autoencoder."""

    hidden_sizes: list[int] = setting(at_least=1)
    latent_size: int = setting(at_least=1)
    commitment: float = setting(at_least=0)
    steps: int = setting(at_least=1)
    batch_size: int = setting(at_least=1)
    learning_rate: float = setting(above=0)


@dataclass(frozen=True)
class Quantize:
    """From vectors to semantic IDs."""

    import_: str | None
    method: Literal["rq_kmeans", "rq_vae"]
    n_codebooks: int = setting(at_least=1)
    codebook_size: int = setting(at_least=2, at_most=4096)
    expand_final: bool = field()
    balanced: bool = field()
    n_restarts: int = setting(at_least=1)
    rq_vae: RQVAE = field()


@dataclass(frozen=True)
class SASRecSizes:
    """Sizes of RecBole's SASRec, under RecBole's names."""

    n_layers: int = setting(at_least=1)
    n_heads: int = setting(at_least=1)
    hidden_size: int = setting(at_least=1)
    inner_size: int = setting(at_least=1)
    hidden_dropout_prob: float = setting(at_least=0, below=1)
    attn_dropout_prob: float = setting(at_least=0, below=1)
    hidden_act: Literal["gelu", "relu", "swish", "tanh", "sigmoid"] = field()
    layer_norm_eps: float = setting(above=0)
    initializer_range: float = setting(above=0)


@dataclass(frozen=True)
class GRU4RecSizes:
    """Sizes of RecBole's GRU4Rec, under RecBole's names."""

    embedding_size: int = setting(at_least=1)
    hidden_size: int = setting(at_least=1)
    num_layers: int = setting(at_least=1)
    dropout_prob: float = setting(at_least=0, below=1)


@dataclass(frozen=True)
class Simulator:
    """Training of the sequential recommenders that stand in for users."""

    max_length: int = setting(at_least=2)
    epochs: int = setting(at_least=1)
    patience: int = setting(at_least=1)
    batch_size: int = setting(at_least=1)
    learning_rate: float = setting(above=0)
    weight_decay: float = setting(at_least=0)
    SASRec: SASRecSizes = field()
    GRU4Rec: GRU4RecSizes = field()


@dataclass(frozen=True)
class Policy:
    """Sizes of the T5 policy, and whether the target has token ids of its own."""

    n_layers: int = setting(at_least=1)
    d_model: int = setting(at_least=8)
    d_ff: int = setting(at_least=8)
    d_kv: int = setting(at_least=1)
    n_heads: int = setting(at_least=1)
    dropout: float = setting(at_least=0, below=1)
    target_tokens: Literal["shared", "separate"] = field()


@dataclass(frozen=True)
class Pretrain:
    """Supervised pre-training on mined paths and on paths found by search."""

    simulator: str
    search_paths: int = setting(at_least=0)
    search_share: float = setting(at_least=0, at_most=1)
    search_candidates: int = setting(at_least=1)
    max_steps: int = setting(at_least=1)
    evaluate_every: int = setting(at_least=1)
    patience: int = setting(at_least=1)
    min_improvement: float = setting(at_least=0)
    batch_size: int = setting(at_least=1)
    learning_rate: float = setting(above=0)
    embedding_learning_rate: float = setting(above=0)
    warmup_steps: int = setting(at_least=0)
    weight_decay: float = setting(at_least=0)
    gradient_clip: float = setting(above=0)
    precision: Precision = field()


@dataclass(frozen=True)
class RewardWeights:
    """Weights of the three step rewards."""

    ctr: float = setting(at_least=0)
    ioi: float = setting(at_least=0)
    ior: float = setting(at_least=0)


@dataclass(frozen=True)
class KL:
    """The anchor of the policy to the one it started from."""

    coefficient: float = setting(at_least=0)


@dataclass(frozen=True)
class Finetune:
    """The rectified policy gradient."""

    simulator: str
    init_from: str | None
    targets: Literal["mined", "random", "mixed"]
    select_on: dict[Metric, float]
    epochs: int | None = setting(at_least=1)
    steps: int | None = setting(at_least=1)
    centering_steps: int | None = setting(at_least=1)
    prompts_per_step: int = setting(at_least=1)
    n_rollouts: int = setting(at_least=2)
    temperature: float = setting(above=0)
    gamma: float = setting(above=0, at_most=1)
    weights: RewardWeights = field()
    kl: KL = field()
    learning_rate: float = setting(above=0)
    embedding_learning_rate: float = setting(above=0)
    warmup_share: float = setting(at_least=0, at_most=1)
    weight_decay: float = setting(at_least=0)
    gradient_clip: float = setting(above=0)
    evaluate_every: int = setting(at_least=1)
    validation_prompts: int = setting(at_least=1)
    precision: Precision = field()


@dataclass(frozen=True)
class Evaluate:
    """Guides times simulators on the test prompts."""

    policies: dict[str, str]
    rollouts: list[int] = setting(at_least=1)
    bootstrap_resamples: int = setting(at_least=100)
    diversity_pairs: int = setting(at_least=1)
    batch_size: int = setting(at_least=1)


@dataclass(frozen=True)
class Report:
    """The HTML report."""

    example_paths: int = setting(at_least=0)


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


@dataclass(frozen=True)
class Params:
    """All of `params.yaml`, validated. `section(name, dataset)` gives one typed section."""

    seed: int
    launch: str
    datasets: list[str]
    simulators: list[str]
    raw: dict[str, Any]
    source: str

    def section(self, name: str, dataset: str | None = None) -> Any:
        """The settings of section `name`, those of `dataset` over the general ones. Raises `ConfigError`."""
        values = dict(self.raw[name])
        if name not in GLOBAL_SECTIONS:
            overrides = {key: values.pop(key) for key in self.datasets}
            if dataset is not None:
                if dataset not in overrides:
                    raise ConfigError(f"{self.source}: data set {dataset!r} is not in `datasets`, which holds {self.datasets}")
                values = _merged(values, overrides[dataset])
        return _build(SECTIONS[name], values, name, self.source)


def read_params(path: Path = PARAMS_FILE) -> Params:
    """Read and validate the whole of `path`, every section for every data set.

    Raises `ConfigError` for the first setting that is missing, unknown, of the wrong type or out of range.
    """
    source = str(path)
    try:
        raw = YAML(typ="safe").load(Path(path))
    except YAMLError as error:
        raise ConfigError(f"{source}: not readable as YAML: {error}") from error
    except FileNotFoundError:
        raise ConfigError(f"{source}: no such file; run from the root of the repository") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{source}: expected a mapping of sections, found {type(raw).__name__}")
    heads = {"seed": int, "launch": str, "datasets": list[str], "simulators": list[str]}
    _check_keys(raw, [*heads, *SECTIONS], "", source)
    head = {key: _convert(kind, raw[key], key, {}, source) for key, kind in heads.items()}
    if not head["datasets"]:
        raise ConfigError(f"{source}: datasets: got an empty list, allowed: at least one data set")
    params = Params(**head, raw=raw, source=source)
    for name in SECTIONS:
        if not isinstance(raw[name], dict):
            raise ConfigError(f"{source}: {name}: got {raw[name]!r}, allowed: a mapping")
        if name in GLOBAL_SECTIONS:
            params.section(name)
            continue
        for dataset in params.datasets:
            if not isinstance(raw[name].get(dataset), dict):
                raise ConfigError(
                    f"{source}: {name}.{dataset}: got {raw[name].get(dataset)!r}, allowed: a mapping, `{{}}` where nothing differs"
                )
        for dataset in params.datasets:
            params.section(name, dataset)
    return params


def _merged(general: dict, specific: dict) -> dict:
    """`general` with the values of `specific` over it, mappings merged key by key."""
    merged = dict(general)
    for key, value in specific.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged


def _check_keys(values: dict, allowed: list[str], prefix: str, source: str) -> None:
    for key in values:
        if key not in allowed:
            close = difflib.get_close_matches(str(key), allowed, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"allowed: {', '.join(allowed)}"
            raise ConfigError(f"{source}: {prefix}{key}: unknown key; {hint}")
    for key in allowed:
        if key not in values:
            raise ConfigError(f"{source}: {prefix}{key}: missing")


def _build(cls: type, values: dict, prefix: str, source: str) -> Any:
    hints = typing.get_type_hints(cls)
    fields = {f.name.removesuffix("_"): f for f in dataclasses.fields(cls)}  # `import` is a Python keyword: its field is `import_`
    _check_keys(values, list(fields), f"{prefix}.", source)
    return cls(**{f.name: _convert(hints[f.name], values[key], f"{prefix}.{key}", f.metadata, source) for key, f in fields.items()})


def _convert(kind: Any, value: Any, key: str, bounds: typing.Mapping, source: str) -> Any:
    """`value` as `kind`, within `bounds`; integers pass as floats, nothing else is coerced."""

    def refuse(allowed: str) -> typing.NoReturn:
        raise ConfigError(f"{source}: {key}: got {value!r} ({type(value).__name__}), allowed: {allowed}")

    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            refuse("a mapping")
        return _build(kind, value, key, source)
    if origin is Literal:
        if value not in arguments:
            refuse(", ".join(map(str, arguments)))
        return value
    if origin is types.UnionType:
        if value is None:
            return None
        return _convert(next(a for a in arguments if a is not type(None)), value, key, bounds, source)
    if origin is list:
        if not isinstance(value, list):
            refuse("a list")
        return [_convert(arguments[0], entry, f"{key}[{i}]", bounds, source) for i, entry in enumerate(value)]
    if origin is dict:
        if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
            refuse("a mapping of names")
        return {
            _convert(arguments[0], name, key, {}, source): _convert(arguments[1], entry, f"{key}.{name}", bounds, source)
            for name, entry in value.items()
        }
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        refuse({int: "a whole number", float: "a number", str: "text", bool: "true or false"}[kind])
    if kind in (int, float):
        words = {"above": "above", "at_least": "at least", "at_most": "at most", "below": "below"}
        allowed = " and ".join(f"{words[name]} {bound}" for name, bound in bounds.items() if bound is not None)
        inside = (
            (bounds.get("above") is None or value > bounds["above"])
            and (bounds.get("at_least") is None or value >= bounds["at_least"])
            and (bounds.get("at_most") is None or value <= bounds["at_most"])
            and (bounds.get("below") is None or value < bounds["below"])
        )
        if not inside:
            refuse(f"a number {allowed}")
    return value

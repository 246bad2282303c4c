"""Profile texts to vectors by a sentence-transformers model, in all processes that accelerate started.

Texts are sorted by length and cut into batches once, for all processes together; whole batches are dealt to
shards. A batch therefore holds the same texts, with the same padding, for any number of processes and after
any interruption. In float32 the matrix is the same bit for bit where every process has the same number of
threads.

Shards are files in a folder that all processes see. A run that was killed continues with the missing shards.
Processes exchange nothing else. They wait for each other once, before process 0 joins the shards.
"""

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import is_sentence_transformer_model, load_file_path

from prorl.config.embed import Embed
from prorl.config.section import ConfigError
from prorl.items.matrices import read_matrix, write_matrix
from prorl.items.packaged import at_revision, model_source
from prorl.runtime import progress

BATCHES_PER_SHARD = 8  # the most that a killed process loses; few, so that every process gets some shards


def encode(
    texts: Sequence[str], settings: Embed, checkpoints: Path, every_seconds: float
) -> np.ndarray | None:
    """L2-normalised vectors of `texts`, float32 [n, d], in their order; None in all processes but the first.

    Pooling is the model's own, for Qwen3-Embedding the last token's state; so is the most tokens it reads,
    where `max_tokens` is more. Shards are kept in `checkpoints`,
    under a key of the texts, the model and the settings. The caller removes that folder once the vectors are
    written.
    """
    on_cpu = not torch.cuda.is_available()
    # A process may wait long for the last shards of the others.
    state = PartialState(cpu=on_cpu, timeout=timedelta(days=7))
    source = model_source(settings.model)
    model = load_encoder(source, str(state.device), settings)
    model.max_seq_length = min(settings.max_tokens, model.max_seq_length or settings.max_tokens)
    shards = shards_of(texts, settings.batch_size)
    folder = checkpoints / fingerprint(texts, settings, source)
    files = [folder / f"{shard:06d}.npy" for shard in range(len(shards))]
    mine = range(state.process_index, len(shards), state.num_processes)
    todo = [shard for shard in mine if not files[shard].exists()]
    steps = ((shard, batch) for shard in todo for batch in shards[shard])
    total = sum(len(shards[shard]) for shard in todo)
    vectors: list[np.ndarray] = []
    for shard, batch in progress(
        steps, description="embed", unit="batch", every_seconds=every_seconds, total=total
    ):
        vectors.append(encode_batch(model, [texts[int(row)] for row in batch]))
        if len(vectors) == len(shards[shard]):
            write_matrix(files[shard], np.concatenate(vectors))
            vectors = []
    state.wait_for_everyone()
    if not state.is_main_process:
        return None
    rows = np.concatenate([row for shard in shards for row in shard])
    return np.concatenate([read_matrix(file) for file in files])[np.argsort(rows)]


def load_encoder(source: str, device: str, settings: Embed) -> SentenceTransformer:
    """The model in the folder `source`, or of that name on the hub, `@` a revision where it says so.

    No code that a model brings is run. Raises `ConfigError` for a model that is not there, needs code of its
    own, cannot be loaded or does not say how it pools.
    """
    got = f"embed.model: got {settings.model!r}"
    there = "a folder, or a model that is downloaded or can be"
    name, revision = at_revision(source)
    try:
        whole = is_sentence_transformer_model(name, revision=revision)
        config = load_file_path(name, "config.json", revision=revision)
        if whole:
            return SentenceTransformer(
                name,
                revision=revision,
                device=device,
                trust_remote_code=False,
                model_kwargs={"dtype": torch.bfloat16 if settings.precision == "bf16" else torch.float32},
            )
    except (OSError, ValueError, ImportError) as error:  # what hub and transformers raise for files and names
        told = " ".join(str(error).split())[:200]
        raise ConfigError(f"{got}, allowed: {there}; {told}") from error
    if config is None:
        raise ConfigError(f"{got}, which is not there; allowed: {there}")
    raise ConfigError(
        f"{got}, which has no modules.json: how the states of its tokens become one vector is not known, "
        "and their mean would be wrong for many models; allowed: a sentence-transformers model, whole"
    )


def encode_batch(model: SentenceTransformer, texts: list[str]) -> np.ndarray:
    """Vectors of `texts` in one forward pass; float32, and normalised in float32 in any precision."""
    vectors = model.encode(texts, batch_size=len(texts), convert_to_tensor=True, show_progress_bar=False)
    return torch.nn.functional.normalize(vectors.float(), dim=-1).cpu().numpy()


def shards_of(texts: Sequence[str], batch_size: int) -> list[list[np.ndarray]]:
    """Shards of about equal work; each holds batches, and each batch rows of `texts` of about equal length.

    Batches go from the longest texts to the shortest, so that one too large for memory fails at once. They
    are dealt to the shards in turn.
    """
    order = np.argsort([-len(text) for text in texts], kind="stable")
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    n_shards = -(-len(batches) // BATCHES_PER_SHARD)
    return [batches[shard::n_shards] for shard in range(n_shards)]


def fingerprint(texts: Sequence[str], settings: Embed, source: str) -> str:
    """A key of everything the vectors depend on; `source` is what the model is loaded from.

    A model in a folder counts by the sizes and modification times of its files.
    """
    folder = Path(source)
    files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
    weights = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    digest = hashlib.sha256(repr((settings, weights, BATCHES_PER_SHARD, torch.__version__)).encode())
    for text in texts:
        digest.update(hashlib.sha256(text.encode()).digest())
    return digest.hexdigest()[:32]

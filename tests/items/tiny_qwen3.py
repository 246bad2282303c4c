"""A tiny random Qwen3 embedding model with a tokenizer of its own, saved in the layout of Qwen3-Embedding."""

from collections.abc import Iterable
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3Model

END = "<|endoftext|>"


def save_tiny_qwen3(folder: Path, corpus: Iterable[str]) -> None:
    """Write the model to `folder`.

    Byte-level BPE trained on `corpus`, end-of-text appended, last-token pooling, L2-normalised.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        corpus, trainers.BpeTrainer(vocab_size=400, special_tokens=[END], initial_alphabet=alphabet)
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", special_tokens=[(END, tokenizer.token_to_id(END))]
    )
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=128,
    )
    Qwen3Model(config).save_pretrained(folder / "backbone")
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=END, eos_token=END, padding_side="left"
    ).save_pretrained(folder / "backbone")
    backbone = Transformer(str(folder / "backbone"), processor_kwargs={"padding_side": "left"})
    pooling = Pooling(backbone.get_embedding_dimension(), pooling_mode="lasttoken")
    SentenceTransformer(modules=[backbone, pooling, Normalize()], device="cpu").save(str(folder / "model"))

"""Pre-training throughput: optimiser steps on batches of 256 demonstrations.

    python -m benchmarks.pretraining [--quick] [--results <folder>]

Ours runs in bf16 autocast. The obvious version is Transformers' T5 in float32, on labels
padded to the longest path there can be. Rows are for demonstrations of a mean length of about 2, 3.5 and 10
items; which items they hold makes no difference to the time. Both step with AdamW (Muon is
`benchmarks.muon`), and the learning rate is 0, so that every run starts from the same weights.
"""

import copy
from collections.abc import Iterator

import torch
import torch.nn.functional as F

from benchmarks.agreement import KeptGradient, same_loss_and_gradient
from benchmarks.harness import Case, Claim, Options, main
from benchmarks.models import DATASET, Models, accelerator_of, models
from benchmarks.obvious import transformers_policy, written_tokens
from benchmarks.rollouts import MEAN_LENGTHS
from prorl.config.pretrain import Pretrain
from prorl.params import read_params
from prorl.policy.pretraining import n_tokens, train_step
from prorl.prompts import Demonstrations, Prompts
from prorl.training import adamw, scale_learning_rate

CLAIM = Claim("Pre-training: steps on 256 demonstrations", cpu=2.5, gpu=4)
CHECKED = 32  # demonstrations


def cases(options: Options) -> Iterator[Case]:
    """One case for each mean length."""
    setting = models(options.quick, options.device)
    for mean in MEAN_LENGTHS:
        yield _case(
            setting,
            demonstrations(setting, 16 if options.quick else 256, mean),
            f"mean length {mean:g}",
            options,
        )


def demonstrations(setting: Models, n: int, mean: float) -> Demonstrations:
    """`n` paths of random items that stop with the same probability after each item, `mean` items on average.

    All have 10 items where `mean` is 10.
    """
    history, target = setting.prompts(n)
    longest = setting.catalogue.decoding.max_length
    generator = torch.Generator().manual_seed(0)
    path = torch.randint(1, setting.catalogue.trie.n_items + 1, (n, longest), generator=generator)
    if mean < longest:
        path *= torch.arange(longest) < torch.empty(n, 1).geometric_(1 / mean, generator=generator)
    number = torch.arange(n, device=target.device)
    return Demonstrations.certain(Prompts(number, number + 1, history, target), path.to(target.device))


def _case(setting: Models, batch: Demonstrations, name: str, options: Options) -> Case:
    settings, catalogue = read_params().section(Pretrain, DATASET), setting.catalogue
    run = accelerator_of("bf16")
    policy = copy.deepcopy(setting.policy).train()
    optimizer = adamw(policy, settings.learning_rate, settings.weight_decay)
    scale_learning_rate(optimizer, 0.0)
    theirs = transformers_policy(setting.policy, catalogue).train()
    their_optimizer = torch.optim.AdamW(theirs.parameters(), lr=0.0, weight_decay=settings.weight_decay)

    def ours() -> torch.Tensor:
        torch.use_deterministic_algorithms(True, warn_only=options.device.type == "cuda")  # as in training
        loss = train_step(run, policy, optimizer, catalogue, batch, settings.gradient_clip)
        torch.use_deterministic_algorithms(False)
        return loss

    def obvious() -> torch.Tensor:
        return obvious_step(theirs, their_optimizer, setting, batch, settings.gradient_clip)

    def check(own: torch.Tensor, others: dict[str, torch.Tensor]) -> str:
        some = batch[torch.arange(min(CHECKED, len(batch)), device=options.device)]
        exact = copy.deepcopy(setting.policy).double()
        plain, kept = exact.eval(), transformers_policy(exact, catalogue).eval()  # two dropouts would differ
        own_gradient, their_gradient = KeptGradient(plain), KeptGradient(kept)
        loss = train_step(accelerator_of("float32"), plain, own_gradient, catalogue, some, 1e9)
        their_loss = obvious_step(kept, their_gradient, setting, some, 1e9)
        (other,) = others.values()
        agreement = same_loss_and_gradient(loss.item(), their_loss.item(), own_gradient, their_gradient)
        return (
            f"{batch.lengths.double().mean():.2f} items on average; {agreement}; "
            f"loss {own:.4f} in bf16, {other:.4f} in float32"
        )

    tokens = n_tokens(batch, catalogue)
    return Case(
        name, ours, {"Transformers in float32, fixed length": obvious}, check, "tokens", lambda _: tokens
    )


def obvious_step(
    model, optimizer: torch.optim.Optimizer, setting: Models, batch: Demonstrations, gradient_clip: float
) -> torch.Tensor:
    """One step of a Transformers model in float32 on labels of fixed length; the mean loss per token."""
    catalogue = setting.catalogue
    labels = written_tokens(catalogue, batch.path[:, None])
    labels = F.pad(labels, (0, catalogue.n_tokens + 1 - labels.shape[1]), value=-100)
    prompts, inputs = (
        catalogue.prompt_tokens(batch.history, batch.target),
        model.prepare_decoder_input_ids_from_labels(labels),
    )
    # Ids that stand for targets in the encoder's input are never emitted.
    logits = model(input_ids=prompts, decoder_input_ids=inputs).logits[..., : catalogue.vocabulary.size]
    loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten())
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), gradient_clip)
    optimizer.step()
    optimizer.zero_grad()
    return loss.detach()


if __name__ == "__main__":
    main(CLAIM, cases)

"""A language model asked for a path: what it is told, how its answer is read, and what is counted."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from prorl.config.decoding import Decoding
from prorl.config.guide import Guide
from prorl.config.proactive import LLMSettings
from prorl.config.section import ConfigError, build
from prorl.guides.causal_model import CausalModel
from prorl.guides.llm_ipp import LIST, Counts, LLMGuide, listed
from prorl.guides.registry import mistakes
from prorl.guides.titles import Titles, normalised
from prorl.items.causal_models import load_causal_model
from prorl.runtime import derived_seed
from tests.guides.scripted import ScriptedChat
from tests.guides.test_floors import ByHand
from tests.tiny_models import PARAMS, prompts_of

TITLES = [
    "The Godfather",
    "Star Wars (1977)",
    "Amélie",
    "Dr. Strangelove or: How I Learned to Stop Worrying",
    "Alien",
    "Heat",
]
POPULAR = np.array([6, 5, 4, 3, 2, 1])
RULES = Decoding(constrained=True, forbid=["repeats", "history", "target"], min_length=2, max_length=3)
PROMPT = prompts_of(torch.tensor([[1, 5]]), torch.tensor([2]))


def settings(**changes):
    values = PARAMS.section(Guide).named["llm_ipp"] | changes
    return build(LLMSettings, {k: v for k, v in values.items() if k != "tried"}, "llm_ipp", "params.yaml")


def guide_of(*answers, decoding=RULES, simulator=None, **changes):
    own = settings(style="plain", **changes)
    return LLMGuide(ScriptedChat(answers), own, TITLES, POPULAR, simulator, decoding, 7)


@pytest.mark.parametrize(
    ("written", "item"),
    [
        ("The Godfather", 1),
        ("Godfather, The (1972)", 1),
        ("  GODFATHER,  the ", 1),
        ("Star Wars", 2),
        ("star-wars (1977)", 2),
        ("Amelie (2001)", 3),
        ("Dr Strangelove, or: How I learned to stop worying", 4),
        ("Star Trek", None),
        ("Aliens", 5),  # 2 * 5 of 11 letters, .91
        ("Heart", None),  # 2 * 4 of 9, .89
        ("", None),
    ],
)
def test_titles_are_matched_as_they_are_normalised_or_if_they_are_very_much_alike(written, item):
    assert Titles(TITLES).item(written) == item


def test_of_items_with_the_same_title_the_first_counts():
    assert Titles(["Emma (1932)", "Emma", "An Affair"]).item("Emma (1996)") == 1
    assert normalised("Affair, An") == normalised("An Affair")


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("Sure: ['Heat', \"Ocean's Eleven\"], I hope", ["Heat", "Ocean's Eleven"]),
        ("['Heat',\n 'Alien',]", ["Heat", "Alien"]),
        ("['Heat', 3, None]", ["Heat"]),
        ("[]", []),
        ("1. Heat 2. Alien", None),
        ("['Heat', 'Alien", None),
        ("[Heat, Alien]", None),
        ("[exit()]", None),
        ("[1] ['Heat']", []),
    ],
)
def test_what_stands_between_the_first_brackets_is_read_as_a_list(answer, found):
    assert listed(answer) == found


def test_a_path_is_what_is_matched_and_allowed_and_everything_else_is_counted(capsys):
    guide = guide_of("['Alien', 'Heat (1995)', 'Nothing', 'Star Wars', 'heat', 'Amelie']")
    paths, counts = guide.answered(PROMPT)
    # Alien is of the history, Star Wars the target, and Heat stands twice.
    assert paths.tolist() == [[6, 3, 0]]
    assert counts == Counts(answers=1, unreadable=0, titles=6, unmatched=1, forbidden=3, added=0)
    again = guide_of("['Heat', 'Nothing']")
    assert again.paths(PROMPT).tolist() == [[6, 4, 0]], "5 is of the history; 4 is the next most popular"
    told = "llm_ipp: 1 prompts: answers 1, unreadable 0, titles 2, unmatched 1, forbidden 0, added 1\n"
    assert capsys.readouterr().err == told


def test_an_answer_that_cannot_be_read_is_an_empty_one():
    free = Decoding(constrained=True, forbid=[], min_length=0, max_length=3)
    paths, counts = guide_of("I cannot.", decoding=free).answered(PROMPT)
    assert paths.tolist() == [[0, 0, 0]]
    assert counts == Counts(answers=1, unreadable=1)
    paths, counts = guide_of("I cannot.").answered(PROMPT)
    assert paths.tolist() == [[6, 4, 0]]
    assert counts == Counts(answers=1, unreadable=1, added=2)


def test_in_the_free_protocol_a_path_ends_with_the_target():
    free = Decoding(constrained=True, forbid=[], min_length=0, max_length=3)
    paths, _ = guide_of("['Alien', 'Star Wars', 'Heat']", decoding=free).answered(PROMPT)
    assert paths.tolist() == [[5, 2, 0]]


def test_the_model_is_told_history_and_target_and_then_asked_for_a_list():
    guide = guide_of("['Heat']", "['Heat']", asked_for=4)
    two = prompts_of(torch.tensor([[1, 5], [4, 3]]), torch.tensor([2, 6]))
    guide.answered(two)
    plan, answer = guide.chat.turns[2:4]
    assert [turn["role"] for turn in plan] == ["system", "user"]
    assert "at least 4 titles" in plan[0]["content"]
    history = "'Dr. Strangelove or: How I Learned to Stop Worrying', 'Amélie'"
    assert f"in this order: {history}." in plan[1]["content"]
    assert "target is: 'Heat'." in plan[1]["content"]
    assert answer[:2] == plan
    assert answer[2] == {"role": "assistant", "content": "First this, [then] that."}
    assert answer[3] == {"role": "user", "content": LIST}
    assert guide.chat.seeds == [None] * 4, "one answer is greedy"


def test_each_style_tells_the_model_to_think_otherwise():
    told = set()
    for style in ("plain", "chain_of_thought", "tree_of_thought"):
        guide = replace(guide_of("['Heat']"), settings=settings(style=style))
        guide.answered(PROMPT)
        told.add(guide.chat.turns[0][0]["content"])
    assert len(told) == 3
    assert sum("experts" in text for text in told) == 1
    assert sum("step by step: say" in text for text in told) == 1


def test_of_several_answers_the_one_with_the_greatest_gain_is_taken():
    # ByHand's target gains a tenth of the sum of the items.
    answers = ["['Amelie', 'Heat']", "['Heat', 'Dr. Strangelove or: How I Learned to Stop Worrying']", "no"]
    guide = guide_of(*answers, simulator=ByHand(), answers=3, picked_by="GRU4Rec")
    paths, counts = guide.answered(PROMPT)
    assert paths.tolist() == [[6, 4, 0]]
    assert counts == Counts(answers=3, unreadable=1, titles=4, added=2)
    expected = [derived_seed(7, "llm_ipp", 0, n, turn) for n in range(3) for turn in ("plan", "list")]
    assert guide.chat.seeds == expected
    assert len(set(expected)) == 6
    assert guide.states(PROMPT, paths).tolist() == [2 + 3 * 3]
    assert guide_of("['Heat']").states(PROMPT, paths).tolist() == [0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"answers": 2}, "llm_ipp.picked_by: got None, allowed with `answers: 2`: the name of a simulator"),
        ({"picked_by": "SASRec"}, "llm_ipp.picked_by: got 'SASRec', allowed with `answers: 1`: null"),
    ],
)
def test_several_answers_need_a_simulator_and_one_needs_none(changes, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        settings(**changes)


def test_an_unknown_simulator_names_the_setting():
    values = PARAMS.section(Guide).named["llm_ipp"] | {"answers": 2, "picked_by": "BERT4Rec"}
    found = mistakes(["llm_ipp"], build(Guide, {"llm_ipp": values}, "guide", "file"), ["SASRec"], "file")
    assert found == [
        "file: guide.llm_ipp.picked_by: got 'BERT4Rec', allowed: one of `simulators`, ['SASRec']"
    ]


def tiny_language_model(folder):
    """A causal language model of a few words in `folder`, with random weights."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    words = ["<end>", "?", *(f"w{i}" for i in range(30)), "user", "assistant", "system", ":"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", unk_token="?").save_pretrained(
        folder
    )
    torch.manual_seed(0)
    sizes = {"vocab_size": len(words), "n_positions": 128, "n_embd": 8, "n_layer": 1, "n_head": 2}
    config = GPT2Config(**sizes, bos_token_id=0, eos_token_id=0, initializer_range=0.9)
    GPT2LMHeadModel(config).save_pretrained(folder)


def test_a_real_model_from_a_folder_answers_the_same_again(tmp_path):
    tiny_language_model(tmp_path)
    network, tokenizer, source = load_causal_model(str(tmp_path), "key", "float32", torch.device("cpu"))
    model = CausalModel(network, tokenizer)
    assert source == tmp_path
    turns = [{"role": "user", "content": "w1 w2 w3"}]
    state = torch.random.get_rng_state()
    greedy, drawn, other = (model.reply(turns, 12, seed) for seed in (None, 1, 2))
    assert greedy == model.reply(turns, 12, None)
    assert drawn == model.reply(turns, 12, 1) != other
    assert 0 < len(greedy.split()) <= 12
    assert torch.equal(torch.random.get_rng_state(), state), "no draw of anybody else changes"
    asked = model.reply([{"role": "user", "content": "w9"}], 12, None)
    assert asked != greedy
    model.tokenizer.chat_template = "{% for turn in messages %}{{ turn.content }} {% endfor %}assistant"
    assert model.reply(turns, 12, None) != greedy

"""The report as a page: complete, self-contained, the same bytes for the same inputs."""

import dataclasses
import json
import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from prorl.reports import page_plots
from prorl.reports.inputs import Curve
from prorl.reports.page import notes, render
from tests.reports.test_tables import with_search
from tests.reports.written_inputs import BENCHMARK, COMMANDS, EXAMPLES, NO_EXAMPLES, read_all


class Elements(HTMLParser):
    """Tags with their attributes, visible text, and what stands in scripts."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text, self.scripts = [], "", []
        self.inside = None
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = tag
        if tag == "script":
            self.scripts.append((dict(attrs).get("type"), ""))

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, data):
        if self.inside == "script":
            kind, text = self.scripts[-1]
            self.scripts[-1] = kind, text + data
        elif self.inside != "style":
            self.text += data


@pytest.fixture(scope="module")
def page(inputs):
    return render(inputs, EXAMPLES, BENCHMARK, 0, COMMANDS)


def test_the_same_inputs_give_the_same_bytes(written, page):
    assert render(read_all(written), EXAMPLES, BENCHMARK, 0, COMMANDS) == page


def test_the_page_needs_nothing_from_elsewhere(page):
    elements = Elements(page)
    assert not {"link", "img", "iframe", "base"} & {tag for tag, _ in elements.tags}
    assert not any("src" in attributes for tag, attributes in elements.tags if tag == "script")
    references = [
        value
        for _, attributes in elements.tags
        for name, value in attributes.items()
        if name in ("href", "src", "xlink:href")
    ]
    assert references
    assert all(reference.startswith("#") for reference in references)
    style = page[page.index("<style>") : page.index("</style>")]
    assert "@import" not in style
    assert "url(" not in style


def test_every_plot_is_a_picture_beside_what_draws_it_and_the_scripts_are_there_once(page):
    elements = Elements(page)
    kinds = [kind for kind, _ in elements.scripts]
    figures = [tag for tag, _ in elements.tags].count("figure")
    assert figures > 20
    assert kinds.count("application/json") == figures + 1  # and the look that they share
    assert kinds.count(None) == 2
    assert page.count("window.vegaEmbed=") == 1
    assert len(re.findall(r"<figure><figcaption>[^<]+</figcaption>\s*<svg role=\"img\"", page)) == figures
    for kind, text in elements.scripts:
        if kind:
            json.loads(text)
    assert "layer" in json.loads(elements.scripts[0][1])


def test_the_page_reads_on_a_phone_in_light_and_dark(page):
    metas = {
        attributes.get("name"): attributes.get("content")
        for tag, attributes in Elements(page).tags
        if tag == "meta"
    }
    assert metas["viewport"] == "width=device-width, initial-scale=1"
    assert metas["color-scheme"] == "light dark"


def test_every_link_within_the_page_leads_somewhere(page):
    tags = Elements(page).tags
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {attributes["href"][1:] for tag, attributes in tags if tag == "a"} <= set(ids)


def test_the_page_says_how_items_were_embedded_and_what_pretraining_was_shown(page):
    text = Elements(page).text
    assert "Item vectors are lsa: TF-IDF and truncated SVD" in text
    assert "60% are demonstrations by a search on a simulator: 4,000 of them, each seen once" in text
    assert "because validation loss had flattened" in text


def test_the_page_says_which_demonstrations_the_policy_wrote_itself(inputs):
    search = inputs.pretrain["search"] | {"seen": 3, "own_paths_after": 0.5}
    [said] = [
        note
        for note in notes(dataclasses.replace(inputs, pretrain=inputs.pretrain | {"search": search}))
        if "pre-training was shown" in note
    ]
    assert "4,000 of them, each seen up to 3 times" in said
    assert "made after 50% of the steps the policy wrote the paths" in said


def test_the_page_holds_results_examples_and_published_figures(page):
    text = Elements(page).text
    for part in (
        "2.000 [1.750, 2.250]",
        "prorl, K = 10",
        "popularity",
        "Towards Dune",
        "python stages/fetch.py ml-100k",
        "Items per code",
        "users below minimum",
        "level 1, used codes",
        "Guides ranked by GRU4Rec, the main judge; score: 1 ioi + 30 ctr",
        "Judged by GRU4Rec, prorl has the highest score of 2 guides; prorl is number 1.",
        "Rules of all guides: No path holds repeats or target; 1 to 10 items.",
        "IoI, increment of interest by path length, GRU4Rec",
    ):
        assert part in text, part
    assert "Published on MovieLens-1M" in text
    assert "2.850" in text


def test_titles_are_shown_as_text_whatever_they_hold(page):
    assert "Clue &amp; &lt;Co&gt;" in page
    assert "<Co>" not in page


def test_without_search_and_with_other_embeddings_the_page_says_so(inputs):
    other = dataclasses.replace(
        inputs,
        dataset="own",
        quantize={
            **inputs.quantize,
            "embedding_model": "Qwen/Qwen3-Embedding-0.6B",
            "beside_embeddings": "GRU4Rec",
        },
        pretrain={**inputs.pretrain, "search": None, "stopped": "max_steps"},
    )
    text = Elements(render(other, NO_EXAMPLES, BENCHMARK, 0, COMMANDS)).text
    assert "Item vectors: Qwen/Qwen3-Embedding-0.6B. Those of GRU4Rec stand beside them" in text
    assert "mined paths alone, as in the published recipe" in text
    assert "at its largest allowed number of steps" in text
    assert "None are published for this data set" in text
    assert "None asked for." in text


def test_training_and_validation_and_all_simulators_share_a_plot(inputs):
    main, others = page_plots.curve_plots(inputs.curves)
    assert [plot.title for plot in main] == ["KL divergence from the start, fine-tuning"]
    assert [plot.title for plot in others] == ["Loss, pre-training", "mrr@10, simulators"]
    loss, mrr = ({row["s"] for row in plot.spec["data"]["values"]} for plot in others)
    assert loss == {"train", "validation"}
    assert mrr == {"GRU4Rec validation", "SASRec validation"}


def test_curves_that_tell_most_come_first(inputs):
    named = ("train/loss", "train/entropy", "train/ctr", "validation/distinct", "train/length")
    curves = [Curve("finetune", name, [0, 1], [0.0, 1.0]) for name in named]
    main, others = page_plots.curve_plots(curves)
    assert [plot.title.split(",")[0] for plot in main] == [
        *("CTR", "Length", "Entropy of choices", "Distinct paths / prompts"),
    ]
    assert [plot.title for plot in others] == ["Loss, fine-tuning"]


def names(plot):
    return [row["s"] for row in plot.spec["data"]["values"]]


def test_a_guide_that_does_not_sample_is_left_out_of_the_plots_of_samples(inputs):
    found = with_search(inputs)
    assert all("search" in names(plot) for plot in page_plots.result_plots(with_length(found), BENCHMARK))
    for plot in page_plots.best_of_plots(found):
        assert set(names(plot)) == {"pretrained", "prorl"}
    alone = dataclasses.replace(found, evaluation={"search": found.evaluation["search"]})
    assert page_plots.best_of_plots(alone) == []


def with_length(inputs):
    """The same with greedy paths of every guide."""
    search = inputs.greedy[inputs.greedy.policy == "prorl"].assign(policy="search")
    return dataclasses.replace(inputs, greedy=pd.concat([inputs.greedy, search], ignore_index=True))


def test_guides_that_can_be_told_have_their_line_and_a_plot_about_the_lines(inputs):
    plots = page_plots.frontier_plots(inputs, BENCHMARK)
    assert [plot.title for plot in plots[:2]] == [
        "Interest against acceptance, GRU4Rec",
        "Interest against acceptance, GRU4Rec: about the lines alone",
    ]
    line = plots[0].spec["layer"][0]["data"]["values"]
    assert line == [
        {"s": "prorl", "n": 0, "x": 0.25, "y": 1.75},
        {"s": "prorl", "n": 1, "x": 0.75, "y": 1.25},
    ]
    untold = dataclasses.replace(inputs, frontier={})
    assert len(page_plots.frontier_plots(untold, BENCHMARK)) == 2


def test_codes_are_counted_level_by_level_without_the_final_one(inputs):
    plot = page_plots.codebook_plot(inputs)
    assert plot.spec["data"]["values"] == [
        {"s": "level 1", "x": 1.0, "y": 3.0},
        {"s": "level 1", "x": 2.0, "y": 2.0},
    ]

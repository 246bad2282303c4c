"""The report as a page: complete, self-contained, the same bytes for the same inputs."""

import dataclasses
from html.parser import HTMLParser

import pytest

from prorl.config.report import Report
from prorl.reports.page import curve_plots, examples, render, result_plots
from tests.reports.test_tables import with_search
from tests.reports.written_inputs import BENCHMARK, read_all


class Elements(HTMLParser):
    """Tags with their attributes, and visible text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def page(inputs):
    return render(inputs, Report(example_paths=2), BENCHMARK)


def test_the_same_inputs_give_the_same_bytes(written, page):
    assert render(read_all(written), Report(example_paths=2), BENCHMARK) == page


def test_the_page_needs_nothing_from_elsewhere_and_no_script(page):
    elements = Elements(page)
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in elements.tags}
    references = [
        value
        for _, attributes in elements.tags
        for name, value in attributes.items()
        if name in ("href", "src", "xlink:href")
    ]
    assert references
    assert all(reference.startswith("#") for reference in references)
    assert "@import" not in page
    assert "url(http" not in page


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
    assert "60% are paths found by search on a simulator: 4,000 of them, each once" in text
    assert "because validation loss had flattened" in text


def test_the_page_holds_results_examples_and_published_figures(page):
    text = Elements(page).text
    for part in (
        "2.000 [1.750, 2.250]",
        "prorl, K = 10",
        "popularity",
        "Prompt 0: towards Dune",
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
        quantize={**inputs.quantize, "embedding_model": "Qwen/Qwen3-Embedding-0.6B"},
        pretrain={**inputs.pretrain, "search": None, "stopped": "max_steps"},
    )
    text = Elements(render(other, Report(example_paths=0), BENCHMARK)).text
    assert "Item vectors: Qwen/Qwen3-Embedding-0.6B." in text
    assert "mined paths alone, as in the published recipe" in text
    assert "at its largest allowed number of steps" in text
    assert "None are published for this data set" in text
    assert "None asked for." in text


def test_examples_are_spread_evenly_and_hold_every_policys_path(inputs):
    first, last = examples(inputs, 2)
    assert (first.prompt, last.prompt) == (0, 2)
    assert [path.guide for path in last.paths] == ["pretrained", "prorl"]
    assert last.paths[0].titles == ["Clue & <Co>", "Clue & <Co>"]
    assert last.paths[0].metrics == "IoI 1.000, IoR 10.0, CTR 0.250"
    assert len(examples(inputs, 99)) == 3
    assert examples(inputs, 0) == []


def test_the_first_simulator_of_the_settings_judges_the_examples_and_stands_first_in_all_tables(written):
    for simulators in (["SASRec", "GRU4Rec"], ["GRU4Rec", "SASRec"]):
        inputs = read_all(written, simulators)
        ctr = inputs.greedy.simulator.map({simulators[0]: 0.75, simulators[1]: 0.25})
        inputs = dataclasses.replace(inputs, greedy=inputs.greedy.assign(ctr=ctr))
        (example,) = examples(inputs, 1)
        assert all(path.metrics.endswith("CTR 0.750") for path in example.paths)
        text = Elements(render(inputs, Report(example_paths=1), BENCHMARK)).text
        assert f"judged by {simulators[0]}. Histories" in text
        judged = [text.index(f"Greedy paths, judged by {name}") for name in simulators]
        assert judged == sorted(judged)


def test_training_and_validation_and_all_simulators_share_a_plot(inputs):
    simulator, pretrain, finetune = curve_plots(inputs)
    assert 'aria-label="simulator: mrr@10"' in simulator
    assert "GRU4Rec validation" in simulator
    assert "SASRec validation" in simulator
    assert 'aria-label="pretrain: loss"' in pretrain
    assert 'aria-label="finetune: kl"' in finetune


def test_a_guide_that_does_not_sample_is_left_out_of_the_plots_of_samples(inputs):
    found = with_search(inputs)
    *greedy, first, second = result_plots(found)
    assert all(">search<" in plot for plot in greedy)
    assert not any(">search<" in plot for plot in (first, second))
    alone = dataclasses.replace(found, evaluation={"search": found.evaluation["search"]})
    assert len(result_plots(alone)) == len(greedy)
    assert ">search</th>" in render(found, Report(example_paths=2), BENCHMARK)

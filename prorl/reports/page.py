"""The report of one data set as one self-contained HTML page: the same bytes for the same inputs, nothing
from elsewhere. Every plot stands in it as a picture, which the page's scripts replace by one that answers.
"""

from collections.abc import Sequence
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from prorl.config.report import Report
from prorl.metrics.registry import decimals_of, headline, label
from prorl.reports import drawing, made_with, page_plots, ranking, tables, trust
from prorl.reports.examples import RULES, START, examples
from prorl.reports.findings import findings
from prorl.reports.guides_page import rules
from prorl.reports.inputs import ReportInputs
from prorl.reports.published import DIFFERENCES, NEAREST
from prorl.reports.ranking import OWN, Benchmark


def render(
    inputs: ReportInputs, settings: Report, benchmark: Benchmark, seed: int, commands: Sequence[str]
) -> str:
    """The page as HTML; random examples are drawn with `seed`, and `commands` are those that made it all."""
    environment = Environment(
        loader=PackageLoader("prorl.reports", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    nearest = NEAREST.get(inputs.dataset)
    curves, other_curves = page_plots.curve_plots(inputs.curves)
    return environment.get_template("page.html.jinja").render(
        dataset=inputs.dataset,
        style=_packaged("page.css"),
        page_script=_packaged("page.js"),
        scripts=drawing.scripts(),
        config=drawing.as_json(drawing.CONFIG),
        svg=drawing.svg,
        as_json=drawing.as_json,
        figures=figures(inputs, benchmark),
        notes=notes(inputs),
        rules=rules(benchmark.decoding),
        main_judge=benchmark.selection.simulator,
        findings=findings(inputs, benchmark),
        ranking=ranking.ranking(inputs, benchmark),
        ranking_details=[
            *ranking.by_other_judges(inputs, benchmark),
            *ranking.against_own(inputs, benchmark),
        ],
        frontier_plots=page_plots.frontier_plots(inputs, benchmark),
        ranking_plots=[
            *page_plots.by_length_plots(inputs, benchmark),
            page_plots.tried_plot(inputs, benchmark),
        ],
        results=tables.results(inputs),
        result_plots=page_plots.result_plots(inputs, benchmark),
        other_ways=tables.other_ways(inputs),
        other_ways_plots=page_plots.best_of_plots(inputs),
        examples=examples(inputs, settings.examples, benchmark, seed),
        example_rules=RULES,
        gates=trust.gates(inputs.gate),
        passed=inputs.gate["passed"],
        agreement=trust.agreement(inputs.gate),
        simulators=tables.simulators(inputs),
        validation=trust.validation(inputs.validated),
        reliability=trust.reliability(inputs.validated),
        simulator_notes=_simulator_notes(inputs),
        training=tables.training(inputs),
        curve_plots=curves,
        other_curve_plots=other_curves,
        semantic_ids=tables.semantic_ids(inputs),
        codebooks=page_plots.codebook_plot(inputs),
        data=tables.data(inputs),
        published=tables.published(nearest) if nearest else None,
        differences=DIFFERENCES,
        commands=commands,
        versions=made_with.versions(),
    )


def _packaged(name: str) -> Markup:
    """The text of a file beside the template, as it stands: it is the project's own."""
    text = (resources.files("prorl.reports") / name).read_text(encoding="utf-8")
    return Markup(text)  # nothing of a user's  # nosec B704


def figures(inputs: ReportInputs, benchmark: Benchmark) -> list[dict[str, str]]:
    """The headline figures of `prorl` under the main judge, beside those of its start."""
    own, start = (inputs.evaluation[guide][benchmark.selection.simulator] for guide in (OWN, START))
    return [
        {
            "name": label(metric),
            "value": tables.number(own[metric]["mean"], decimals_of(metric)),
            "start": tables.number(start[metric]["mean"], decimals_of(metric)),
        }
        for metric in headline()
    ]


def notes(inputs: ReportInputs) -> list[str]:
    """What to know before the figures: how items were embedded, and what pre-training was shown."""
    embedding, beside = inputs.quantize["embedding_model"], inputs.quantize["beside_embeddings"]
    search = inputs.pretrain["search"]
    found = [
        "Item vectors are lsa: TF-IDF and truncated SVD of the items' profile text, not the vectors of a "
        "language model."
        if embedding == "lsa"
        else f"Item vectors: {embedding}."
    ]
    if beside:
        found[0] += f" Those of {beside} stand beside them, learnt from who chose what."
    if search and search["paths"]:
        found.append(_demonstrations(search))
    else:
        found.append("Pre-training was shown mined paths alone, as in the published recipe.")
    stopped = {
        "flattened": "because validation loss had flattened",
        "max_steps": "at its largest allowed number of steps",
    }
    pretrain, finetune = inputs.pretrain, inputs.finetune
    found.append(
        f"Pre-training stopped after {pretrain['steps']:,} steps {stopped[pretrain['stopped']]}; the "
        f"checkpoint of step {pretrain['best_step']:,} is used. Of {finetune['steps']:,} steps of "
        f"fine-tuning, step {finetune['best_step']:,} is used."
    )
    return found


def _demonstrations(search: dict[str, Any]) -> str:
    seen, own = "drawn again and again", search["own_paths_after"]
    if search["fresh"]:
        seen = "each seen once" if search["seen"] == 1 else f"each seen up to {search['seen']} times"
    said = (
        f"Of what pre-training was shown, {search['share']:.0%} are demonstrations by a search on a "
        f"simulator: {search['paths']:,} of them, {seen}; the published recipe has none. "
    )
    if own is not None:
        said += (
            f"Of those made after {own:.0%} of the steps the policy wrote the paths, and the search says "
            "what it would have taken at each place. "
        )
    return said + (
        f"For validation users the search's own paths have a mean IoI of {search['ioi']:.3f}, IoR "
        f"{search['ior']:.1f}, CTR {search['ctr']:.3f} and {search['length']:.2f} items."
    )


def _simulator_notes(inputs: ReportInputs) -> list[str]:
    return [
        f"{name}: {_epochs(values)}; "
        f"{values['untouched_items']:,} of {values['n_items']:,} items touched by no training user."
        for name, values in inputs.simulators.items()
    ]


def _epochs(values: dict[str, Any]) -> str:
    """How long a simulator was trained, where it says so."""
    if "epochs" not in values:
        return "fitted by a class of one's own"
    return f"{values['epochs']} epochs, the best on validation users was epoch {values['best_epoch']}"

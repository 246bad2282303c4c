"""Where every file of a data set lies, from the root of the repository. dvc.yaml states the same paths."""

from dataclasses import dataclass
from pathlib import Path

IDS_FILE = "semantic_ids.parquet"
GUIDE_FILE = "guide.json"  # in a guide's folder: its kind, its settings, and what its fitting gave
CHECKPOINTS = Path(".checkpoints")
CACHE = Path(".cache")  # what only saves time, and belongs to one machine
WRITTEN = Path("data"), Path("models"), Path("reports"), CHECKPOINTS, CACHE  # where stages write
CHECKED = CACHE / "checked"  # the state of params.yaml and the library that was last found right

# What guides were fitted to before, and what was judged before, by digests of all that it was made from.
KEPT_GUIDES, KEPT_JUDGEMENTS = KEPT = CACHE / "guides", CACHE / "judged"


@dataclass(frozen=True)
class Layout:
    """The files and folders of one data set."""

    dataset: str

    @property
    def raw(self) -> Path:
        """Raw files as they were fetched."""
        return Path("data/raw") / self.dataset

    @property
    def prepared(self) -> Path:
        """The folder of the canonical tables."""
        return Path("data/prepared") / self.dataset

    @property
    def items(self) -> Path:
        """The table of items."""
        return self.prepared / "items.parquet"

    @property
    def interactions(self) -> Path:
        """The table of interactions."""
        return self.prepared / "interactions.parquet"

    @property
    def splits(self) -> Path:
        """The table of users and their splits."""
        return self.prepared / "splits.parquet"

    def verdicts(self, judge: str) -> Path:
        """The verdicts of `judge`, similarity or language_model, on pairs of items."""
        return self.prepared / f"{judge}.parquet"

    def texts(self, made_by: str) -> Path:
        """The table of items with the texts that are embedded: those of `prepared`, or of `profiles`."""
        return Path("data") / made_by / self.dataset / "items.parquet"

    def instances(self, split: str) -> Path:
        """The instances of one split."""
        return Path("data/instances") / self.dataset / f"{split}.parquet"

    @property
    def embeddings(self) -> Path:
        """The item vectors."""
        return Path("data/embeddings") / self.dataset / "embeddings.npy"

    @property
    def reduced(self) -> Path:
        """The folder of the reduced vectors and their PCA."""
        return Path("data/reduced") / self.dataset

    @property
    def reduced_vectors(self) -> Path:
        """The reduced vectors."""
        return self.reduced / "reduced.npy"

    @property
    def pca(self) -> Path:
        """The fitted PCA."""
        return self.reduced / "pca.safetensors"

    @property
    def semantic_ids(self) -> Path:
        """The folder of semantic IDs and codebooks."""
        return Path("data/semantic_ids") / self.dataset

    @property
    def simulators(self) -> Path:
        """The folder of all simulators' folders."""
        return Path("models/simulators") / self.dataset

    def simulator(self, name: str) -> Path:
        """The folder of one simulator."""
        return self.simulators / name

    def policy(self, name: str) -> Path:
        """The folder of one policy: `pretrained` or `prorl`."""
        return Path("models/policies") / self.dataset / name

    @property
    def all_released(self) -> Path:
        """The folder of all released policies' folders."""
        return Path("models/released") / self.dataset

    def released(self, name: str) -> Path:
        """The folder of one released policy: `pretrained` or `prorl`."""
        return self.all_released / name

    @property
    def guides(self) -> Path:
        """The folder of all guides' folders, but for the two policies'."""
        return Path("models/guides") / self.dataset

    def guide(self, name: str) -> Path:
        """The folder of one guide."""
        return self.guides / name

    @property
    def per_prompt(self) -> Path:
        """Every test prompt's result."""
        return Path("data/evaluation") / self.dataset / "per_prompt.parquet"

    @property
    def reports(self) -> Path:
        """The folder of metrics, curves and the page."""
        return Path("reports") / self.dataset

    def metrics(self, name: str) -> Path:
        """The JSON file of metrics called `name`, such as `pretrain` or `simulator/SASRec`."""
        return self.reports / f"{name}.json"

    def inputs(self, stage: str) -> Path:
        """The checksums of the outside files that `stage` (`mine`, `simulator/SASRec`) reads."""
        return self.reports / "inputs" / f"{stage}.json"

    @property
    def simulator_inputs(self) -> Path:
        """The folder of `inputs` of all simulators."""
        return self.reports / "inputs/simulator"

    @property
    def guide_inputs(self) -> Path:
        """The folder of `inputs` of all guides."""
        return self.reports / "inputs/guide"

    @property
    def kept_guides(self) -> Path:
        """What guides were fitted to before, by what it was made from."""
        return KEPT_GUIDES / self.dataset

    @property
    def kept_judgements(self) -> Path:
        """What was evaluated before, by guide, judge and all that either was made from."""
        return KEPT_JUDGEMENTS / self.dataset

    @property
    def outside_checksums(self) -> Path:
        """Checksums of outside files by size and time of change."""
        return CACHE / f"outside-{self.dataset}.json"

    @property
    def said(self) -> Path:
        """What language models said of pairs and items, by prompt."""
        return CACHE / f"said-{self.dataset}.sqlite"

    @property
    def downloaded_checksums(self) -> Path:
        """Checksums of first downloads whose publisher states none."""
        return self.reports / "checksums.json"

    @property
    def runtime(self) -> Path:
        """Seconds and memory of the stages, which belong to one machine."""
        return self.reports / "runtime.json"

    def curves(self, name: str) -> Path:
        """The folder of the training curves of `pretrain`, `finetune` or `simulator/<name>`."""
        return self.all_curves / name

    @property
    def all_curves(self) -> Path:
        """The folder of all training curves."""
        return self.reports / "curves"

    def checkpoints(self, stage: str) -> Path:
        """Where `stage` keeps what an interrupted run goes on from, if it keeps more than a `Checkpoint`."""
        return CHECKPOINTS / f"{stage}-{self.dataset}"

    @property
    def page(self) -> Path:
        """The report."""
        return self.reports / "index.html"

    @property
    def guides_page(self) -> Path:
        """The ranking of guides."""
        return self.reports / "guides.md"

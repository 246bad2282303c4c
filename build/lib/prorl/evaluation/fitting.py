"""Guides fitted, and their settings chosen among several, before they are evaluated.

Each of the settings to choose from is fitted, and its greedy paths on validation prompts are judged by the
main judge; the best ones are kept. What was fitted or judged before from the same data, simulators, settings
and code of the guide's kind is taken from a store.
"""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prorl.checkpoint import Checkpoint
from prorl.config.logging import Logging
from prorl.config.section import Settings
from prorl.config.selection import Selection
from prorl.evaluation.judge import Judge
from prorl.evaluation.kept import Store, digest
from prorl.evaluation.made_from import of_guide
from prorl.files import atomic_folder, read_json, write_json
from prorl.guide import GuideContext
from prorl.guides.modules import code_of
from prorl.guides.registry import Named
from prorl.instances import Instances
from prorl.prompts import Prompts
from prorl.runtime import derived_seed
from prorl.training import TENSORBOARD, Session

FILES, FIGURES = (
    "files",
    "figures.json",
)  # of what was fitted: what `build` reads, and figures of the training
CURVES = "curves"  # within the files


@dataclass(frozen=True)
class Fitting:
    """What all guides of a data set are fitted with.

    `training_seed`: of fitting alone; `data` and `simulators`: digests of what they are made from; `outside`:
    checksums of files from outside the repository; `judge`: on validation prompts, by the main judge alone,
    None where there is nothing to choose.
    """

    dataset: str
    context: GuideContext
    training_seed: int
    data: str
    simulators: dict[str, str]
    outside: dict[str, str | None]
    logging: Logging
    store: Store
    judge: Judge | None

    def chosen(self, guide: Named, selection: Selection, folder: Path) -> dict[str, Any]:
        """Fit the best of the settings of `guide` into `folder`; gives them, figures, and what was tried."""
        fits = [self._fitted(guide, settings) for settings in guide.options]
        tried = []
        if len(guide.options) > 1:
            for settings, (key, files) in zip(guide.options, fits, strict=True):
                metrics = self._judged(guide, settings, key, files)
                score = sum(weight * metrics[name] for name, weight in selection.on.items())
                tried.append({"settings": settings.as_json(), "metrics": metrics, "score": score})
        best = max(range(len(tried)), key=lambda i: tried[i]["score"], default=0)
        _, files = fits[best]
        figures = {}
        if files is not None:
            shutil.copytree(files / FILES, folder, dirs_exist_ok=True)
            figures = read_json(files / FIGURES)
        return {"settings": guide.options[best].as_json(), "tried": tried, "figures": figures}

    def _key(self, guide: Named, settings: Settings) -> str:
        """A digest of all that the guide is made from."""
        of = self.context
        given = [of.decoding, of.precision, of.device.type, of.seed, self.training_seed]
        return digest(of_guide(guide, settings, self.data, self.simulators), given, self.outside)

    def _fitted(self, guide: Named, settings: Settings) -> tuple[str, Path | None]:
        """The key of the guide with `settings`, and the folder of what it was fitted to, if it is."""
        key = self._key(guide, settings)
        if guide.entry.fit is None:
            return key, None
        found = self.store.folder / f"{guide.name}-{key}"
        if not found.exists():
            with atomic_folder(found) as temporary:
                (temporary / FILES).mkdir()
                session = self._session(guide.name, key, temporary / FILES / CURVES)
                context = self._context(guide, settings, temporary / FILES)
                fitting = replace(context, seed=self.training_seed)
                write_json(temporary / FIGURES, guide.entry.fit(settings, fitting, session))
            session.checkpoint.remove()
        return key, found

    def _session(self, name: str, key: str, curves: Path) -> Session:
        label = f"guide-{self.dataset}-{name}"
        checkpoint = Checkpoint(label, [], key, script=__file__)
        events = TENSORBOARD / f"guide@{self.dataset}-{name}" if self.logging.tensorboard else None
        return Session(f"guide/{name}", checkpoint, curves, self.logging.every_seconds, events)

    def _context(self, guide: Named, settings: Settings, folder: Path) -> GuideContext:
        names = guide.simulators_named(settings, self.context.simulators)
        simulators = {name: self.context.simulators[name] for name in names}
        return replace(self.context, key=f"guide.{guide.name}", folder=folder, simulators=simulators)

    def _judged(self, guide: Named, settings: Settings, key: str, files: Path | None) -> dict[str, float]:
        """{metric: mean} of the guide's greedy paths on validation prompts."""
        if (judge := self.judge) is None:
            raise ValueError("settings are chosen by a judge")
        (name,) = judge.simulators
        prompts = [part.cpu().numpy() for part in vars(judge.prompts).values()]
        how = [judge.max_length, judge.diversity_pairs, judge.batch_size, judge.seed]
        judging = digest(code_of(Path(__file__).with_name("judge.py")), self.simulators[name], prompts, how)

        def judged() -> dict[str, float]:
            nothing = self.context.folder
            folder = nothing if files is None else files / FILES
            built = guide.entry.build(settings, self._context(guide, settings, folder))
            return judge.greedy_means(built)[name]

        return self.store.json(guide.name, digest(key, judging), judged)


def validation_prompts(instances: Instances, selection: Selection, seed: int) -> Prompts:
    """The prompts among the validation `instances` that guides are judged on, drawn as fine-tuning draws."""
    return Prompts.of(instances).sample(selection.prompts, derived_seed(seed, "validation prompts"))

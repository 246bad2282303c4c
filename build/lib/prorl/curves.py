"""Writes training curves through DVCLive, and as TensorBoard event files.

DVC clears a stage's outputs before it runs, so a continued run writes the rows of its first part again. They
are stored in its checkpoint.
"""

import shutil
from pathlib import Path
from typing import Any

from dvclive.live import Live


class Curves:
    """Curves in `folder`; `rows` are those of an earlier part of the run, which are written again.

    Files are written only where `enabled`, and event files only where `tensorboard` names their folder.
    """

    def __init__(
        self,
        folder: Path,
        rows: list[dict] | None = None,
        *,
        enabled: bool = True,
        tensorboard: Path | None = None,
    ):
        self.rows: list[dict] = []
        self._live = (
            Live(str(folder), save_dvc_exp=False, dvcyaml=None, monitor_system=False) if enabled else None
        )
        self._events = _event_writer(tensorboard) if enabled and tensorboard is not None else None
        for row in rows or []:
            self.log(**row)

    def log(self, step: int, values: dict[str, float], untracked: dict[str, float] | None = None) -> None:
        """Add one row at `step`.

        What depends on the machine, such as speed, is `untracked`: TensorBoard alone shows it.
        """
        self.rows.append({"step": step, "values": values})
        if self._live is not None:
            self._live.step = step
            for name, value in values.items():
                self._live.log_metric(name, value)
        if self._events is not None:
            for name, value in {**values, **(untracked or {})}.items():
                self._events.add_scalar(name, value, step)

    def close(self) -> None:
        """Write the summary."""
        if self._live is not None:
            self._live.end()
        if self._events is not None:
            self._events.close()


def _event_writer(folder: Path) -> Any:
    """A writer of event files into `folder`, which is emptied: a continued run writes the rows of its first
    part again.
    """
    from torch.utils.tensorboard import SummaryWriter  # takes seconds to import, and few runs need it

    shutil.rmtree(folder, ignore_errors=True)
    return SummaryWriter(str(folder))

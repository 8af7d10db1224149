"""What the training commands show while they run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import MofNCompleteColumn, TextColumn

from masklet.cli.display import Stoppable, progress_bar

if TYPE_CHECKING:
    from masklet.training.trainer import TrainReport

#: Where there is no terminal, a line is written for every so many reports.
_QUIET = 5


class TrainDisplay(Stoppable):
    """A bar with the loss, the IoU and the speed; the first Ctrl-C saves the run and ends it, the second ends it."""

    def __init__(self) -> None:
        columns = (MofNCompleteColumn(), TextColumn("{task.fields[numbers]}", markup=False))
        bar = progress_bar(*columns, transient=False, speed_estimate_period=600)
        super().__init__(bar, "Finishing this step and saving …")
        self._console = bar.console
        self._task: Any = None
        self._reports = 0
        self.listen()

    def show(self, report: TrainReport) -> None:
        terms, numbers = report.terms, ""
        if terms:
            numbers = (
                f"stage {report.stage + 1}  loss {terms['loss']:.3f}  IoU {terms['true_iou']:.3f}  "
                f"{_speed(report.steps_per_second)} ({report.frames_per_second:.3g} frames/s)"
            )
        if self._task is None:
            self._task = self._bar.add_task("training", total=report.steps, numbers="")
            self._bar.start()
        self._bar.update(self._task, completed=report.step, numbers=numbers)
        if terms:
            if not self._console.is_terminal and (
                self._reports % _QUIET == 0 or report.validation or report.step == report.steps
            ):
                self._console.print(f"{report.step}/{report.steps}  {numbers}", soft_wrap=True)
            self._reports += 1
        if report.validation is not None:
            scores = "  ".join(
                f"{kind} J {report.validation.j[kind]:.3f} F {report.validation.f[kind]:.3f}"
                for kind in report.validation.j
            )
            place = f"at {report.step}" if report.step else "before the first step"
            self._bar.console.print(f"validation {place}: {scores}", soft_wrap=True)

    def ended(self, run: Path, finished: bool) -> None:
        weights = run / "model.safetensors"
        if finished:
            self._console.print(f"Done. Use it: masklet track clip.mp4 --checkpoint {weights} …", soft_wrap=True)
        else:
            self._console.print(f"Saved in {run}; give the same command again to go on.", soft_wrap=True)


def _speed(steps_per_second: float) -> str:
    if steps_per_second >= 1:
        return f"{steps_per_second:.2f} steps/s"
    return f"{1 / steps_per_second:.3g} s/step" if steps_per_second else "no steps"

"""All figures that fit a run or a study, into its ``plots`` folder."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from analysis.figures import style
from analysis.figures.breaking import breaking_figure, has_breaking
from analysis.figures.collusion import collusion_figure, has_coalitions
from analysis.figures.cost import cost_figure, has_costs
from analysis.figures.heat import heat_figure
from analysis.figures.network import network_figure
from analysis.figures.partition import partition_figure
from analysis.figures.progress import has_progress, progress_figure
from analysis.figures.run import accuracy_figure, epsilon_figure
from analysis.figures.study import paired_figure, tradeoff_figure
from analysis.figures.victims import has_victims, victims_figure
from analysis.store import Run, Study, is_study, read_run, read_study
from analysis.tables.heat import has_heat
from analysis.tables.paired import study_differences
from analysis.tables.tradeoff import curves


def plot(path: Path) -> list[Path]:
    """Draw everything that fits.

    Args:
        path: a run folder (finished or not) or a study folder.

    Returns:
        The pictures written, in the order a reader wants them.

    Raises:
        StorageError: the folder is missing or damaged.
    """
    path = Path(path)
    figures = _study(read_study(path)) if is_study(path) else _run(read_run(path))
    return [style.save(made, path / "plots" / f"{name}.png") for name, made in figures]


def _run(run: Run) -> list[tuple[str, Figure]]:
    # An unfinished run may not have got as far as a table; a finished one must have it, and says so if not.
    found: list[tuple[str, Figure]] = []
    if run.finished or (run.has("metrics") and not run.metrics.is_empty()):
        found.append(("accuracy", accuracy_figure(run)))
    if run.has("privacy") and run.privacy["epsilon"].drop_nulls().len():
        found.append(("epsilon", epsilon_figure(run)))
    if has_victims(run):
        found.append(("victims", victims_figure(run)))
    found.append(("network", network_figure(run)))
    if run.manifest.get("samples_per_node"):  # runs of early versions do not say
        found.append(("partition", partition_figure(run)))
    return found


def _study(study: Study) -> list[tuple[str, Figure]]:
    if has_costs(study):
        return [("cost", cost_figure(study))]
    if has_coalitions(study):
        return [("collusion", collusion_figure(study))]
    if has_breaking(study):
        return [("breaking", breaking_figure(study))]
    if has_heat(study):
        return [("heat", heat_figure(study))]
    watched = has_progress(study)
    found: list[tuple[str, Figure]] = []
    if study.kind == "whatif" and study_differences(study):
        found.append(("paired", paired_figure(study)))
    elif study.kind != "whatif" and (
        curves(study.summaries) or not watched
    ):  # without any ε there is no trade-off
        found.append(("tradeoff", tradeoff_figure(study)))
    if watched:
        found.append(("progress", progress_figure(study)))
    return found

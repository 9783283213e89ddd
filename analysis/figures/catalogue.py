"""All figures: those that modules of this package declare as ``FIGURES``, and those of plug-ins."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path

from matplotlib import figure

import analysis.figures
from analysis.figures import style
from analysis.figures.declared import GROUP, Figure
from analysis.store import Run, Study, is_study, read_run, read_study
from simulator.errors import ConfigurationError, SottovoceError
from simulator.plugins import declared


@cache
def own() -> tuple[Figure, ...]:
    """List the figures of sottovoce, in reading order."""
    found: list[Figure] = []
    for module in pkgutil.iter_modules(analysis.figures.__path__):
        if f"analysis.figures.{module.name}" != __name__:
            found += getattr(import_module(f"analysis.figures.{module.name}"), "FIGURES", ())
    return tuple(sorted(found, key=lambda one: one.place))


@cache
def figures() -> Mapping[str, Figure]:
    """Map names to all figures, those of plug-ins last.

    Raises:
        ConfigurationError: a plug-in cannot be loaded, is no figure, or a name is taken twice.
    """
    return declared(GROUP, Figure, own())


def names() -> list[str]:
    """List the names of all figures.

    Raises:
        ConfigurationError: as :func:`figures`.
    """
    return list(figures())


def plot(path: Path, kind: style.Format = "png") -> list[Path]:
    """Draw every figure that fits.

    Args:
        path: a run folder (finished or not) or a study folder.
        kind: format of the pictures.

    Returns:
        The pictures written, in reading order.

    Raises:
        ConfigurationError: a figure of a plug-in fails, or there is no such format.
        StorageError: the folder is missing or damaged.
    """
    path, kind = Path(path), style.known_format(kind)
    subject = read_study(path) if is_study(path) else read_run(path)
    pictures = ((one, _drawn(one, subject)) for one in fitting(subject))
    return [style.save(made, path / "plots" / f"{one.name}.{kind}") for one, made in pictures]


def fitting(subject: Run | Study) -> list[Figure]:
    """List the figures that fit a run or a study, in reading order.

    Raises:
        ConfigurationError: a figure of a plug-in fails.
        StorageError: the folder is damaged.
    """
    of = "study" if isinstance(subject, Study) else "run"
    mine = [one for one in own() if one.of == of]
    for one in mine:
        if one.alone and one.fits(subject):
            chosen = [one]
            break
    else:
        chosen = [one for one in mine if not one.alone and one.fits(subject)]
    known = set(own())
    others = [one for one in figures().values() if one not in known and one.of == of]
    return chosen + [one for one in others if _fits(one, subject)]


def caption(name: str, seeds: str = "") -> str:
    """Return the caption of a figure.

    Args:
        name: of the figure's file, without its extension.
        seeds: for a study's figure, the number of seeds in words (:func:`analysis.tables.estimate.seeds_in_words`).

    Raises:
        KeyError: no figure has that name.
    """
    return figures()[name].words(seeds)


def _fits(one: Figure, subject: Run | Study) -> bool:
    try:
        return one.fits(subject)
    except SottovoceError:
        raise
    except Exception as error:  # a figure of a plug-in may raise anything
        raise _failed(one, error) from error


def _drawn(one: Figure, subject: Run | Study) -> figure.Figure:
    try:
        return one.draw(subject)
    except SottovoceError:
        raise
    except Exception as error:  # a figure of a plug-in may raise anything
        if one in own():
            raise
        raise _failed(one, error) from error


def _failed(one: Figure, error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"figure {one.name} failed: {type(error).__name__}: {error}; repair it or uninstall its package"
    )

"""Self-contained page about a run or a study: numbers, meaning of the ε, figures, scenario, versions."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from analysis.figures.catalogue import caption, plot
from analysis.store import Run, Study, is_study, read_run, read_study
from analysis.tables.estimate import seeds_in_words
from analysis.tables.heat import has_heat
from analysis.tables.study import WHOLE, about, epsilon_terms, paired_about, paired_rows, study_rows, warned
from analysis.tables.summary import cut_short, number, observers_in_words, summary_rows, upper, worst_node
from analysis.tables.tradeoff import BOUNDS, epsilon_of, grid_points
from simulator.errors import StorageError

_CSS = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; }
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .9rem .2rem 0; text-align: left; vertical-align: top; }
th, td { border-bottom: 1px solid #e5e5e5; }
th { font-weight: 600; } .wide { overflow-x: auto; font-size: .85rem; }
img { max-width: 100%; height: auto; } figure { margin: 1rem 0; }
figcaption { color: #555; font-size: .9rem; }
.warnings { background: #fff4e5; border-left: 4px solid #d55e00; padding: .6rem 1.6rem; }
pre { background: #f6f6f6; padding: .8rem; overflow-x: auto; font-size: .8rem; }
"""

_UNIT = {"record": "one training record of one node", "node": "the whole data set of one node"}
_ADJACENCY = {
    "add-remove": "is present or absent",
    "zero-out": "contributes as it does or contributes zero",
    "replace": "is as it is or is replaced by any other",
}


_MISSING = {
    "non-linear view": "the view of some observer is no linear function of noised updates",
    "noise of integers": "sums with integer noise are accounted one by one, by Rényi divergences",
    "too large to compute": "the view of some observer is too large for it",
}


def report(path: Path) -> Path:
    """Write ``report.html`` into a run or study folder; it needs no other file and no network.

    Args:
        path: a run folder (finished or not) or a study folder.

    Returns:
        The path of the page.

    Raises:
        StorageError: the folder is missing or damaged, or cannot be written.
    """
    path = Path(path)
    body = _study_body(read_study(path)) if is_study(path) else _run_body(read_run(path))
    target = path / "report.html"
    try:
        target.write_text(body, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{target}: cannot be written ({error})") from error
    return target


def explain_epsilon(summary: Mapping[str, Any]) -> list[str]:
    """Return sentences on what the privacy numbers of a run guarantee and what they do not."""
    value, basis = summary.get("epsilon_worst"), str(summary.get("basis"))
    if value is None:
        return ["No privacy loss was accounted: the exchange is not private."]
    if math.isinf(value):
        reason = summary.get("epsilon_reason")
        return [
            "ε is infinite: at least one honest node has no differential-privacy guarantee at all"
            + (f" ({reason})." if reason else ".")
        ]
    unit = _UNIT.get(str(summary.get("unit")), str(summary.get("unit")))
    adjacency = _ADJACENCY.get(str(summary.get("adjacency")), str(summary.get("adjacency")))
    observers = summary.get("observers")
    if value == 0:
        return [
            "ε = 0: what observers received depends on no honest node's data by more than δ allows."
            + _until(summary)
        ]
    watcher = (
        "No single node"
        if observers in (None, "each node")
        else f"No observer ({observers_in_words(observers)})"
    )
    where = f"unit {summary.get('unit')}, adjacency {summary.get('adjacency')}, basis {basis}"
    words = []
    if basis in BOUNDS:
        words.append(
            f"{watcher} can tell from everything it received in this run whether {unit} {adjacency} by more "
            f"than (ε, δ) = ({upper(value)}, {summary.get('delta')}) allows ({where}). This is the worst "
            "case over honest victims and observers on the recorded trace, and it holds although "
            "every node reacts to what it receives." + _until(summary)
        )
    if basis == "ldp-fallback":
        words.append(
            "A non-linear or data-dependent step made the exact analysis of the recorded view impossible; "
            "the bound counts only the noise each node adds itself."
        )
    open_loop, missing = epsilon_of(summary, "open-loop"), summary.get("open_loop_missing")
    if missing is not None:
        words.append(f"There is no open-loop ε: {_MISSING.get(str(missing), str(missing))}.")
    elif open_loop is not None:
        words.append(
            f"Open-loop ε = {upper(open_loop)} covers the recorded linear view with the other nodes' gradients "
            "held fixed, and nothing else: on sparse graphs it is not a bound for adaptive training and must not "
            "be quoted as one."
        )
    words.append(
        "Noise of Byzantine or colluding nodes is never credited; a release counts when it is delivered."
    )
    return words


def _until(summary: Mapping[str, Any]) -> str:
    """Return a sentence for a run that was cut short, otherwise an empty text."""
    if not cut_short(summary):
        return ""
    until = number(summary.get("simulated_s"))
    return f" It counts what happened up to {until} s; the rounds that were left would have cost more."


def _run_body(run: Run) -> str:
    manifest, summary = run.manifest, run.summary
    parts = [_prose(manifest["scenario"])]
    if manifest["status"] != "finished":
        ended = {"running": "has not ended yet", "interrupted": "was interrupted"}
        word = ended.get(str(manifest["status"]), str(manifest["status"]))
        parts.append(f"<p><strong>This run {escape(word)}.</strong></p>")
    if summary is not None:
        told = "".join(f"<li>{escape(str(sentence))}</li>" for sentence in summary.get("warnings") or ())
        parts += [f'<ul class="warnings">{told}</ul>'] if told else []
        parts += ["<h2>Summary</h2>", _pairs(summary_rows(summary, worst_node(run)))]
        parts += ["<h2>What the privacy numbers mean</h2>"]
        parts += [f"<p>{escape(sentence)}</p>" for sentence in explain_epsilon(summary)]
    mixing = manifest.get("mixing")
    parts += ["<h2>Figures</h2>", *_figures(plot(run.path))]
    if mixing:
        parts += [
            "<h2>Mixing matrix</h2>",
            _pairs((k.replace("_", " "), _plain(v)) for k, v in mixing.items()),
        ]
    parts += ["<h2>Scenario</h2>", _json(manifest["scenario"])]
    about = {
        key: manifest[key]
        for key in ("seed", "mode", "scenario_sha256", "trace_hash", "wall_s", "peak_mib")
        if key in manifest
    }
    parts += [
        "<h2>Provenance</h2>",
        _pairs((key.replace("_", " "), _plain(value)) for key, value in about.items()),
    ]
    parts += ["<h2>Versions</h2>", _pairs((k, str(v)) for k, v in (manifest.get("versions") or {}).items())]
    return _page(f"{manifest['name']} (seed {manifest.get('seed', '?')})", parts)


def _study_body(study: Study) -> str:
    header, rows = study_rows(study)
    finished = study.summaries.height
    total = len(study.description["runs"])
    parts = [_prose(study.description["scenario"])]
    parts += [f"<p>{finished} of {total} runs have a summary.</p>", *map(_paragraph, warned(study))]
    parts += ["<h2>Summary</h2>", _paragraph(about(study)), _table(header, rows)]
    if not has_heat(study):
        parts.append(_paragraph(WHOLE))
    compared = paired_rows(study)
    if compared is not None:
        parts += ["<h2>Differences to the baseline</h2>", _paragraph(paired_about(study)), _table(*compared)]
    parts += ["<h2>What the privacy numbers mean</h2>", *_study_epsilon(study)]
    parts += [
        "<h2>Figures</h2>",
        *_figures(plot(study.path), seeds_in_words(p.seeds for p in grid_points(study.summaries))),
    ]
    parts += ["<h2>Scenario</h2>", _json(study.description["scenario"])]
    versions = _study_versions(study)
    if versions:
        parts += ["<h2>Versions</h2>", _pairs((key, str(value)) for key, value in versions.items())]
    return _page(f"{study.name} ({'what-if' if study.kind == 'whatif' else study.kind})", parts)


def _study_epsilon(study: Study) -> list[str]:
    words = epsilon_terms(study)
    for row in study.summaries.to_dicts():
        unit, adjacency = str(row.get("unit")), str(row.get("adjacency"))
        told = (
            f"Unit {unit}, adjacency {adjacency}: ε limits how well an observer can tell whether "
            f"{_UNIT.get(unit, unit)} {_ADJACENCY.get(adjacency, adjacency)}."
        )
        if row.get("unit") is not None and told not in words:
            words.append(told)
    words.append(
        "Certified ε bounds what adaptive training reveals. Open-loop ε covers the recorded linear view with the "
        "other nodes' gradients held fixed, and nothing else: on sparse graphs it is not a bound for adaptive "
        "training."
    )
    return [f"<p>{escape(sentence)}</p>" for sentence in words]


def _study_versions(study: Study) -> Mapping[str, Any]:
    for entry in study.description["runs"]:
        if (study.path / "runs" / str(entry["id"]) / "manifest.json").exists():
            return dict(study.run(str(entry["id"])).manifest.get("versions") or {})
    return {}


def _page(title: str, parts: Iterable[str]) -> str:
    inside = "\n".join(part for part in parts if part)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_CSS}</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>\n{inside}\n</body>\n</html>\n"
    )


def _prose(scenario: Mapping[str, Any]) -> str:
    words = [("", scenario.get("description")), ("Expected: ", scenario.get("expect"))]
    return "\n".join(f"<p>{lead}{escape(str(text))}</p>" for lead, text in words if text)


def _pairs(rows: Iterable[tuple[str, str]]) -> str:
    lines = [f'<tr><th scope="row">{escape(k)}</th><td>{escape(v)}</td></tr>' for k, v in rows]
    return "<table>\n<tbody>\n" + "\n".join(lines) + "\n</tbody>\n</table>" if lines else ""


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    lines = ["<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    body = "\n".join(lines)
    table = f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"
    return f'<div class="wide">{table}</div>'


def _paragraph(text: str) -> str:
    return f"<p>{escape(text[:1].upper() + text[1:].rstrip('.'))}.</p>"


def _figures(pictures: Iterable[Path], seeds: str = "") -> list[str]:
    made = []
    for picture in pictures:
        data = base64.b64encode(picture.read_bytes()).decode("ascii")
        words = escape(caption(picture.stem, seeds))
        picture_tag = f'<img alt="{words}" src="data:image/png;base64,{data}">'
        made.append(f"<figure>{picture_tag}<figcaption>{words}</figcaption></figure>")
    return made


def _json(value: Any) -> str:
    return f"<pre>{escape(json.dumps(_short(value), indent=2, ensure_ascii=False))}</pre>"


def _short(value: Any) -> Any:
    """Return a value of JSON whose floats have at most twelve digits, so that 0.1 + 0.2 is 0.3."""
    if isinstance(value, float):
        return float(f"{value:.12g}")
    if isinstance(value, Mapping):
        return {key: _short(one) for key, one in value.items()}
    return [_short(one) for one in value] if isinstance(value, list | tuple) else value


def _plain(value: Any) -> str:
    """Format a value of a manifest: floats with six digits."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)

"""The page of a study as one file: template, style, scripts and data, with all network access forbidden."""

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from search.convergence import StudyProgress
from studies.defaults import DEFAULT_STORAGE
from studies.fronts.front import Front
from studies.report.page.data import page_data
from studies.report.page.details import details
from studies.study import LoadedStudy

FOLDER = Path(__file__).parent
SCRIPTS = (
    "svg.js",
    "pointer.js",
    "keys.js",
    "front.js",
    "charts.js",
    "card.js",
    "table.js",
    "report.js",
)  # in the order in which they run


def write_report(
    loaded: LoadedStudy, fronts: Sequence[Front], progress: StudyProgress, path: Path, storage: str = DEFAULT_STORAGE
) -> None:
    """Write the page of a study; `storage` is that of the study, for the export commands."""
    path.write_text(report_html(loaded, fronts, progress, storage), encoding="utf-8")


def report_html(
    loaded: LoadedStudy, fronts: Sequence[Front], progress: StudyProgress, storage: str = DEFAULT_STORAGE
) -> str:
    """The page of a study as self-contained HTML, whose policy allows its own script and no request."""
    script = "".join(_asset(name) for name in SCRIPTS)
    known = details(loaded, fronts)
    data = page_data(loaded, fronts, progress, storage) | {"details": list(known)}
    return _filled(
        _asset("report.html"),
        {
            "title": html.escape(f"Pareto front of {fronts[0].study}"),
            "hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            "style": _asset("report.css"),
            "data": _inside_script(json.dumps(data, separators=(",", ":"))),
            "details": _inside_script("\n".join(known.values())),
            "script": script,
        },
    )


def _asset(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def _filled(template: str, parts: Mapping[str, str]) -> str:
    """The template with every {{name}} replaced once, so that a part may contain such a mark itself."""
    return re.sub(r"\{\{(\w+)\}\}", lambda mark: parts[mark[1]], template)


def _inside_script(text: str) -> str:
    """JSON that cannot end a script element, whatever its strings contain: '<' occurs in strings alone."""
    return text.replace("<", "\\u003c")

"""Write the page of a study as one file with style, scripts and data. Its policy forbids all network access."""

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from search.progress import StudyProgress
from studies.defaults import DEFAULT_STORAGE
from studies.fronts.front import ParetoFront
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
)  # in order of execution


def write_report(
    loaded: LoadedStudy,
    fronts: Sequence[ParetoFront],
    progress: StudyProgress,
    path: Path,
    storage: str = DEFAULT_STORAGE,
) -> None:
    """Write the page of a study. `storage` appears in the export commands on the page."""
    path.write_text(report_html(loaded, fronts, progress, storage), encoding="utf-8")


def report_html(
    loaded: LoadedStudy, fronts: Sequence[ParetoFront], progress: StudyProgress, storage: str = DEFAULT_STORAGE
) -> str:
    """Return the page of a study as self-contained HTML. Its policy allows its own script but no network requests."""
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
    """Replace every {{name}} in a template. All are replaced in one pass, so a part may contain text like {{name}}."""
    return re.sub(r"\{\{(\w+)\}\}", lambda mark: parts[mark[1]], template)


def _inside_script(text: str) -> str:
    """Escape '<' in JSON, where it only occurs in strings, so that no string can end the script element."""
    return text.replace("<", "\\u003c")

"""Check the built site: every link and picture is there, every page can be reached, nothing is loaded from elsewhere.

python -m docs.check runs/site
"""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {"link": "href", "script": "src", "img": "src", "iframe": "src", "source": "src", "object": "data"}
SCHEMES = ("http", "https", "mailto")


class Page(HTMLParser):
    """The targets of a page's links, and its anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        # Targets of links, and what a browser loads by itself.
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect the targets and anchors of a tag."""
        values = {name: value for name, value in attrs if value}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        elif tag in LOADED and LOADED[tag] in values:
            self.loaded.append(values[LOADED[tag]])


def problems(site: Path) -> Iterator[str]:
    """Find the problems of a built site, a line each."""
    pages = {file: Page(file.read_text(encoding="utf-8")) for file in sorted(site.rglob("*.html"))}
    links: dict[Path, set[Path]] = {}  # targets of the links of each page
    missing: dict[Path, str] = {}  # what does not exist, by where the first page links to it
    for file, page in pages.items():
        if file.name == "404.html":  # is served at any depth, so its links are from the root
            continue
        where = file.relative_to(site)
        for target in page.loaded:
            if urlsplit(target).scheme == "data":
                continue
            if urlsplit(target).netloc:
                yield f"{where}: loads {target} from another host"
            elif not (file.parent / unquote(urlsplit(target).path)).is_file():
                yield f"{where}: {target} does not exist"
        for target in page.links:
            parts = urlsplit(target)
            if parts.scheme in SCHEMES:
                continue
            there = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            there = there / "index.html" if there.is_dir() else there
            links.setdefault(file, set()).add(there)
            if not there.exists():
                missing.setdefault(there, f"{where}: links to {target}, which does not exist")
            elif parts.fragment and there in pages and unquote(parts.fragment) not in pages[there].anchors:
                yield f"{where}: links to {target}, which has no such anchor"
    yield from missing.values()
    unreached = pages.keys() - _reachable(links, site / "index.html") - {site / "404.html"}
    for file in sorted(unreached):
        yield f"{file.relative_to(site)}: no page links to it"
    for file in sorted(site.rglob("*.css")):
        for target in re.findall(r"(?:url\(|@import )['\"]?((?:https?:)?//[^)'\"]+)", file.read_text(encoding="utf-8")):
            yield f"{file.relative_to(site)}: loads {target} from another host"


def _reachable(links: Mapping[Path, set[Path]], start: Path) -> set[Path]:
    """The pages that a reader can reach from one page by its links."""
    found, ahead = {start}, [start]
    while ahead:
        new = links.get(ahead.pop(), set()) - found
        found |= new
        ahead += new
    return found


def main(arguments: Sequence[str]) -> int:
    """Print every problem; 1 if there is one."""
    (site,) = map(Path, arguments)
    found = list(problems(site.resolve()))
    for problem in found:
        sys.stderr.write(f"{problem}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

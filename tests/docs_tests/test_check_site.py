"""The check of the built site reports broken links and resources from other hosts."""

from pathlib import Path

import pytest

from docs.check import main, problems


def site(folder: Path, **pages: str) -> Path:
    for name, body in pages.items():
        (folder / f"{name}.html").write_text(f"<html><head></head><body>{body}</body></html>")
    return folder


def test_a_complete_site_has_no_problems(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    site(
        tmp_path,
        index='<a href="other.html#here">x</a><a href="#top" id="top"></a><img src="a.png"><img src="data:image/png,">',
        other='<p id="here"></p><a href="https://optuna.org">elsewhere</a><a href="./">home</a>',
    )
    assert list(problems(tmp_path)) == []
    assert main([str(tmp_path)]) == 0


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ('<a href="gone.html">x</a>', "links to gone.html, which does not exist"),
        ('<a href="#gone">x</a>', "links to #gone, which has no such anchor"),
        ('<img src="gone.png">', "gone.png does not exist"),
        ('<script src="https://cdn.example/x.js"></script>', "loads https://cdn.example/x.js from another host"),
        ('<link rel="stylesheet" href="//fonts.example/x.css">', "loads //fonts.example/x.css from another host"),
    ],
)
def test_broken_links_and_external_resources_are_reported(
    tmp_path: Path, body: str, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    site(tmp_path, index=body)
    assert list(problems(tmp_path)) == [f"index.html: {problem}"]
    assert main([str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"index.html: {problem}\n"


def test_pages_without_incoming_links_are_reported(tmp_path: Path) -> None:
    site(tmp_path, index="", alone="")
    assert list(problems(tmp_path)) == ["alone.html: no page links to it"]


def test_styles_from_other_hosts_are_reported(tmp_path: Path) -> None:
    site(tmp_path, index="")
    (tmp_path / "x.css").write_text('@import "https://fonts.example/a.css"; p { background: url(data:image/png,) }')
    assert list(problems(tmp_path)) == ["x.css: loads https://fonts.example/a.css from another host"]

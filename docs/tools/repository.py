"""A hook of MkDocs: adds the files outside docs/ that pages link to, so that relative links work in both places.

A page links to `../configs/shac_hopper.yaml` as it would on the repository's page. On the site this file is the page
`repository/configs/shac_hopper.yaml`. Markdown and pictures are added as they are, and other text as a code block. A
tutorial, a script in cells, is a page of prose and code, and a notebook beside it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jupytext
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
TUTORIALS = ROOT / "examples" / "tutorials"
FENCE = re.compile(r"^(```.*?^```)", re.S | re.M)
LINK = re.compile(r"\[([^\]]*)\]\((?!https?:|#|mailto:)([^)\s#]+)([^)]*)\)")
PICTURES = (".png", ".gif", ".jpg", ".svg")
LANGUAGES = {".py": "python", ".yaml": "yaml", ".toml": "toml", ".xml": "xml", "": "bash"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds every file outside docs/ that can be reached by links from the pages."""
    waiting = [Path(file.abs_src_path) for file in files.documentation_pages() if file.abs_src_path]
    seen = set(waiting)
    while waiting:
        page = waiting.pop()
        for target in linked(page):
            if target not in seen and target.exists():
                seen.add(target)
                waiting += [target] if target.suffix == ".md" else []
                waiting += [target] if is_tutorial(target) else []
                if not target.is_relative_to(DOCS):
                    files.append(added(target, config))
                if is_tutorial(target):
                    notebook = jupytext.writes(jupytext.read(target), fmt="ipynb")
                    files.append(File.generated(config, f"tutorials/{target.stem}.ipynb", content=notebook))
    return files


def on_page_markdown(markdown: str, page: Any, config: MkDocsConfig, files: Files) -> str:
    """Rewrites the links of a page to where the files are on the site."""
    outside = page.file.abs_src_path is None
    source = original(page.file.src_uri) if outside else Path(page.file.abs_src_path)
    folder = Path(page.file.src_uri).parent

    def moved(match: re.Match[str]) -> str:
        target = Path(os.path.normpath(source.parent / match[2]))
        if target.is_file():
            return f"[{match[1]}]({os.path.relpath(address(target), folder)}{match[3]})"
        left = target.suffix == ".ipynb" or not outside
        return match[0] if left else match[1]  # reports name run folders, which are not in the repository

    parts = FENCE.split(markdown)  # code blocks are the odd ones
    return "".join(part if index % 2 else LINK.sub(moved, part) for index, part in enumerate(parts))


def linked(page: Path) -> Iterator[Path]:
    """The files that a page links to, but for those in its code blocks."""
    for match in LINK.finditer(FENCE.sub("", text_of(page))):
        yield Path(os.path.normpath(page.parent / match[2]))


def address(path: Path) -> str:
    """Where a file is among the sources of the site."""
    if path.is_relative_to(DOCS):
        return path.relative_to(DOCS).as_posix()
    if is_tutorial(path):
        return f"tutorials/{path.stem}.md"
    as_is = path.suffix == ".md" or path.suffix in PICTURES
    return f"repository/{path.relative_to(ROOT).as_posix()}" + ("" if as_is else ".md")


def original(uri: str) -> Path:
    """The file outside docs/ that a page of the site was made of."""
    if uri.startswith("tutorials/"):
        return TUTORIALS / f"{Path(uri).stem}.py"
    return ROOT / uri.removeprefix("repository/")


def is_tutorial(path: Path) -> bool:
    """Whether a file is a script in cells."""
    return path.parent == TUTORIALS and path.suffix == ".py"


def text_of(path: Path) -> str:
    """The text of a page; of a tutorial, prose and code as Markdown."""
    if not is_tutorial(path):
        return path.read_text()
    markdown = jupytext.writes(jupytext.read(path), fmt="md")
    title, rest = re.sub(r"\A---\n.*?\n---\n", "", markdown, flags=re.S).strip().split("\n", 1)
    return f"{title}\n\nAs a notebook: [{path.stem}.ipynb]({path.stem}.ipynb).\n{rest}\n"


def added(path: Path, config: MkDocsConfig) -> File:
    """A file outside docs/ as a file of the site, not in the navigation.

    Raises: ValueError if a page links to a folder, which a site cannot show.
    """
    if path.is_dir():
        raise ValueError(f"links must point to files, got the folder {path.relative_to(ROOT)}")
    inclusion = InclusionLevel.NOT_IN_NAV
    if is_tutorial(path):
        return File.generated(config, address(path), content=text_of(path))
    if path.suffix in PICTURES:
        return File.generated(config, address(path), content=path.read_bytes(), inclusion=inclusion)
    text = path.read_text()
    if path.suffix != ".md":
        language = LANGUAGES.get(path.suffix, "text")
        text = f"# {path.relative_to(ROOT)}\n\n````{language}\n{text.rstrip()}\n````\n"
    return File.generated(config, address(path), content=text, inclusion=inclusion)

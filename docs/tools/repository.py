"""A hook of MkDocs: adds the files outside docs/ that pages link to, so that relative links work in both places.

A page links to `../configs/shac_hopper.yaml` as it would on the repository's page. On the site this file is the page
`repository/configs/shac_hopper.yaml`. Markdown and pictures are added as they are, and other text as a code block.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
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
                if not target.is_relative_to(DOCS):
                    files.append(added(target, config))
    return files


def on_page_markdown(markdown: str, page: Any, config: MkDocsConfig, files: Files) -> str:
    """Rewrites the links of a page to where the files are on the site."""
    outside = page.file.abs_src_path is None
    source = ROOT / page.file.src_uri.removeprefix("repository/") if outside else Path(page.file.abs_src_path)
    folder = Path(page.file.src_uri).parent

    def moved(match: re.Match[str]) -> str:
        target = Path(os.path.normpath(source.parent / match[2]))
        if target.is_file():
            return f"[{match[1]}]({os.path.relpath(address(target), folder)}{match[3]})"
        return match[1] if outside else match[0]  # reports name run folders, which are not in the repository

    parts = FENCE.split(markdown)  # code blocks are the odd ones
    return "".join(part if index % 2 else LINK.sub(moved, part) for index, part in enumerate(parts))


def linked(page: Path) -> Iterator[Path]:
    """The files that a page links to, but for those in its code blocks."""
    for match in LINK.finditer(FENCE.sub("", page.read_text())):
        yield Path(os.path.normpath(page.parent / match[2]))


def address(path: Path) -> str:
    """Where a file is among the sources of the site."""
    if path.is_relative_to(DOCS):
        return path.relative_to(DOCS).as_posix()
    as_is = path.suffix == ".md" or path.suffix in PICTURES
    return f"repository/{path.relative_to(ROOT).as_posix()}" + ("" if as_is else ".md")


def added(path: Path, config: MkDocsConfig) -> File:
    """A file outside docs/ as a file of the site, not in the navigation.

    Raises: ValueError if a page links to a folder, which a site cannot show.
    """
    if path.is_dir():
        raise ValueError(f"links must point to files, got the folder {path.relative_to(ROOT)}")
    inclusion = InclusionLevel.NOT_IN_NAV
    if path.suffix in PICTURES:
        return File.generated(config, address(path), content=path.read_bytes(), inclusion=inclusion)
    text = path.read_text()
    if path.suffix != ".md":
        language = LANGUAGES.get(path.suffix, "text")
        text = f"# {path.relative_to(ROOT)}\n\n````{language}\n{text.rstrip()}\n````\n"
    return File.generated(config, address(path), content=text, inclusion=inclusion)

"""A page as a list of blocks, and its Markdown and self-contained HTML."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 78rem; padding: 1rem; color: #1b1f24; background: #fff;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.7rem; margin: .3em 0; } h2 { font-size: 1.25rem; margin: 2.2em 0 .5em; padding-top: .4em;
  border-top: 1px solid #d8dde3; } h3 { font-size: 1.05rem; margin: 1.6em 0 .4em; }
p { max-width: 52rem; } a { color: #1f5f91; }
.wide { overflow-x: auto; margin: .6em 0 1.2em; }
table { border-collapse: collapse; font-size: .86rem; font-variant-numeric: tabular-nums; }
.caption { font-weight: 600; margin: 1.2em 0 .3em; }
th, td { padding: .25em .7em; border-bottom: 1px solid #e5e9ee; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: #fff; }
thead th { border-bottom: 2px solid #9aa5b1; }
td.words { text-align: left; white-space: normal; min-width: 12rem; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 27rem), 1fr)); gap: .8rem; }
img { width: 100%; height: auto; display: block; }
pre { overflow-x: auto; background: #f5f7f9; padding: .7em; font-size: .8rem; line-height: 1.35; }
details { margin: .3em 0; } summary { cursor: pointer; }
"""


@dataclass(frozen=True)
class Heading:
    """A heading of level 1 to 3."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Link:
    """A link in a cell, relative to the page."""

    text: str
    target: str


Cell = str | Link


@dataclass(frozen=True)
class Grid:
    """A table. Columns from `words` on are text, those before it are numbers.

    Attributes:
        title: caption of the table; none if it is empty.
        header: one cell per column.
        rows: rows of cells.
        words: index of the first column of text; None if there is none.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    words: int | None = None


@dataclass(frozen=True)
class Pictures:
    """PNG files beside the page, each with its description."""

    shown: Sequence[tuple[Path, str]]


@dataclass(frozen=True)
class Code:
    """The text of a file, folded."""

    title: str
    text: str


Block = Heading | Text | Grid | Pictures | Code


def markdown(blocks: Sequence[Block]) -> str:
    """The page as Markdown, with links to the pictures."""
    return "\n\n".join(_markdown(block) for block in blocks) + "\n"


def html(title: str, blocks: Sequence[Block]) -> str:
    """The page as self-contained HTML: without network or scripts, with embedded pictures."""
    body = "\n".join(_html(block) for block in blocks)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _markdown(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {text}"
        case Text(text):
            return text
        case Grid(title, header, rows, words):
            rule = ["---" if i == 0 or (words is not None and i >= words) else "---:" for i in range(len(header))]
            lines = [header, rule, *([_cell_markdown(cell) for cell in row] for row in rows)]
            caption = f"**{title}**\n\n" if title else ""
            return caption + "\n".join(f"| {' | '.join(line)} |" for line in lines)
        case Pictures(shown):
            return "\n".join(f"![{words}]({path.name})" for path, words in shown)
        case Code(title, text):
            fold = f"<details><summary>{escape(title)}</summary>"
            return f"{fold}\n\n```yaml\n{text.rstrip()}\n```\n\n</details>"


def _cell_markdown(cell: Cell) -> str:
    if isinstance(cell, Link):
        return f"[{cell.text}]({cell.target})"
    return cell.replace("|", "\\|").replace("\n", " ")


def _html(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level}>{escape(text)}</h{level}>"
        case Text(text):
            return f"<p>{escape(text)}</p>"
        case Grid(title, header, rows, words):
            head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
            lines = "\n".join(f"<tr>{_row(row, words)}</tr>" for row in rows)
            caption = f'<p class="caption">{escape(title)}</p>\n' if title else ""
            table = f"<thead><tr>{head}</tr></thead>\n<tbody>\n{lines}\n</tbody>"
            name = f' aria-label="{escape(title)}"' if title else ""
            return f'{caption}<div class="wide" tabindex="0"><table{name}>{table}</table></div>'
        case Pictures(shown):
            images = "\n".join(f'<img src="{_data(path)}" alt="{escape(words)}">' for path, words in shown)
            return f'<div class="pictures">\n{images}\n</div>'
        case Code(title, text):
            return f"<details><summary>{escape(title)}</summary><pre>{escape(text)}</pre></details>"


def _row(row: Sequence[Cell], words: int | None) -> str:
    cells = []
    for i, cell in enumerate(row):
        inner = f'<a href="{escape(cell.target)}">{escape(cell.text)}</a>' if isinstance(cell, Link) else escape(cell)
        cells.append(f'<td class="words">{inner}</td>' if words is not None and i >= words else f"<td>{inner}</td>")
    return "".join(cells)


def _data(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"

"""Commands, Python examples and links of the README and of docs/ work as printed."""

import os
import re
import shlex
from pathlib import Path

import pytest

from diffsim.trainers.run.arguments import parse_fit
from diffsim.trainers.run.registry import ALGORITHMS
from tests import processes

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = {path: path.read_text() for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))}


def blocks(language: str, text: str) -> list[str]:
    """Code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.S | re.M)


def commands(start: str) -> list[str]:
    """Distinct commands in shell blocks that start with `start` (also after `--` or `&&`), without comments."""
    lines = [
        line.split("#")[0] for text in PAGES.values() for block in blocks("bash", text) for line in block.splitlines()
    ]
    found = [re.split(r" -- | && ", line)[-1].strip() for line in lines]
    return sorted({command for command in found if command.startswith(start)})


@pytest.mark.parametrize("command", [command for command in commands("diffsim fit ") if "--resume" not in command])
def test_fit_accepts_the_command(command, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert parse_fit(shlex.split(command)[2:]).task


def test_the_readme_counts_the_algorithms():
    assert f"[{len(ALGORITHMS)} algorithms](docs/algorithms/index.md)" in README


def test_files_and_modules_of_the_commands_exist():
    assert len(commands("diffsim fit ")) >= 20
    assert all((ROOT / command.split()[2]).is_file() for command in commands("diffsim compare "))
    for command in commands("python -m "):
        assert (ROOT / f"{command.split()[2].replace('.', '/')}.py").is_file(), command


def test_ci_runs_the_commands_of_the_readme():
    for start in ("pip install -e . && diffsim fit", 'pip install -e ".[test]" && pytest'):
        assert f"\n{start}" in README and start in (ROOT / ".ci" / "run").read_text()


EXAMPLES = {
    f"{path.relative_to(ROOT)}-{i}": code
    for path, text in PAGES.items()
    for i, code in enumerate(blocks("python", text))
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_python_examples_run(name, tmp_path):
    code = EXAMPLES[name]
    processes.run("-c", code, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_point_to_existing_files_and_headings(page):
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", re.sub(r"(?ms)^```.*?^```", "", PAGES[page])):
        name, _, heading = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.*)$", re.sub(r"(?ms)^```.*?^```", "", path.read_text()), re.M)
            anchors = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
            assert heading in anchors, target


def test_readme_is_short():
    assert len(README.splitlines()) <= 150

"""The pages of docs/ say what the code does: algorithms, errors, options of commands, and files of sweeps."""

import doctest
import importlib.util
import re
import shlex
import tomllib

import pytest
import torch
import yaml

from diffsim.trainers.cli import COMMANDS, main
from diffsim.trainers.run.registry import ALGORITHMS
from diffsim.trainers.sweep.sweep_file import read_sweep
from tests.test_readme import PAGES, ROOT, blocks, commands

FAQ = (ROOT / "docs" / "faq.md").read_text()
CONSOLE = [session for block in blocks("text", FAQ) for session in block.split("$ diffsim ")[1:]]
"""Commands of the FAQ, each followed by what it prints."""


def algorithm_pages():
    """The module that writes the generated sections."""
    spec = importlib.util.spec_from_file_location("algorithm_pages", ROOT / "docs" / "tools" / "algorithm_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_has_a_page(name):
    pages = algorithm_pages()
    text = pages.page(name).read_text()
    headings = tuple(re.findall(r"^## (.*)$", text, re.M))
    assert text.startswith(f"# {name}\n") and headings == pages.SECTIONS
    bodies = re.split(r"^## .*$", text, flags=re.M)
    assert all(len(body.strip()) > 30 for body in bodies), "no section is empty"
    assert text == pages.updated(name), "run: python docs/tools/algorithm_pages.py"
    assert any(command.startswith("diffsim fit") for command in "".join(blocks("bash", text)).splitlines())
    result = text.partition("## Reference result")[2].partition("\n## ")[0]
    assert "benchmarks/results/" in result or "configs/" in result
    assert f"]({pages.page(name).name})" in (pages.PAGES / "index.md").read_text()


def test_a_page_that_is_not_up_to_date_is_found(tmp_path, monkeypatch):
    pages = algorithm_pages()
    text = pages.page("SHAC").read_text()
    monkeypatch.setattr(pages, "PAGES", tmp_path)
    changed = text.replace("| `gamma` | `0.99` |", "| `gamma` | `0.9` |")
    assert changed != text
    (tmp_path / "shac.md").write_text(changed)
    assert pages.updated("SHAC") == text


@pytest.mark.parametrize("session", CONSOLE, ids=lambda session: session.partition("\n")[0])
def test_errors_of_the_faq_are_those_of_the_commands(session, capsys, tmp_path, monkeypatch):
    if "--device cuda" in session and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    monkeypatch.chdir(tmp_path)
    command, _, printed = session.partition("\n")
    assert main(shlex.split(command)) in (1, 2)
    pattern = re.escape(printed.strip()).replace(re.escape("..."), ".*")
    found = capsys.readouterr().err.strip()
    assert re.fullmatch(pattern, found, re.S), found


def test_python_sessions_of_the_faq():
    test = doctest.DocTestParser().get_doctest("\n".join(blocks("pycon", FAQ)), {}, "faq", "faq.md", 0)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    assert len(test.examples) >= 5 and runner.run(test).failed == 0


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "fit"])
def test_options_of_the_commands_exist(name, capsys):
    with pytest.raises(SystemExit):
        main([name, "--help"])
    printed = capsys.readouterr().out
    for command in commands(f"diffsim {name} "):
        for option in re.findall(r"(?<!\S)--\w+", command):
            assert option in printed, command


def test_extras_exist():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for path, text in PAGES.items():
        for named in re.findall(r'pip install -e "\.\[([\w,]+)\]"', text):
            assert set(named.split(",")) <= {*extras, "NAME"}, path
    listed = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "getting-started.md").read_text(), re.M))
    assert listed == set(extras)


def test_the_sweep_of_the_guide_can_be_read(tmp_path):
    (block,) = blocks("yaml", (ROOT / "docs" / "comparing.md").read_text())
    path = tmp_path / "sweep.yaml"
    path.write_text(block)
    sweep = read_sweep(path)
    assert sweep.trials == 20 and set(sweep.search) == {"learning_rate", "horizon", "activation"}


def test_every_page_is_in_the_navigation():
    text = (ROOT / "mkdocs.yml").read_text()
    named = set(re.findall(r"[\w/-]+\.md", str(yaml.safe_load(text[text.index("nav:\n  -") :]))))
    pages = {str(path.relative_to(ROOT / "docs")) for path in PAGES if path.is_relative_to(ROOT / "docs")}
    tutorials = {f"tutorials/{path.stem}.md" for path in (ROOT / "examples" / "tutorials").glob("[!_]*.py")}
    assert named == pages | tutorials


def test_languages_of_code_blocks_are_tested():
    languages = {
        language for text in PAGES.values() for language in re.findall(r"^```(\w*)\n.*?^```", text, re.S | re.M)
    }
    assert languages <= {"bash", "python", "pycon", "text", "yaml"}

"""The report of a comparison with made-up runs, so that every number is known."""

import html.parser
import re
import shutil
import subprocess

import numpy as np
import pytest
import yaml
from matplotlib.figure import Figure

from diffsim.trainers.cli import main
from diffsim.trainers.compare import pictures
from diffsim.trainers.compare.comparison_file import find_comparison, read_comparison
from diffsim.trainers.compare.pictures import by_task, common_range, draw_curves, logarithmic_from_zero, mean_curve
from diffsim.trainers.compare.references import matching, read_references
from diffsim.trainers.compare.report import unequal_budgets, write_report
from diffsim.trainers.compare.results import Curve, Results, area, load
from diffsim.trainers.compare.styles import styles
from diffsim.trainers.compare.tables import (
    improvement_table,
    overall_table,
    progress_tables,
    score_table,
    threshold_table,
)
from diffsim.trainers.run.registry import ALGORITHMS
from diffsim.trainers.run.run_folder import write_table

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
COMPARISON = {
    "seeds": [0, 1],
    "options": {"env_steps": 100, "evaluate_every_steps": 50, "evaluate_episodes": 2, "final_episodes": 2},
    "tasks": {
        "Reacher-v5": {"thresholds": [4, 100], "score_range": [0, 10]},
        "Swimmer-v5": {"score_range": [0, 20]},
    },
    "algorithms": {"SHAC": {}, "SAC": {}, "slow <PPO>": {"algorithm": "PPO"}},
    "references": "references.yaml",
    "published": {"table": "table.csv", "source": "Another paper", "protocol": "mean of all", "env_steps": 900},
}
REFERENCES = {
    "sources": {
        "paper": {
            "title": "A paper",
            "where": "table 3",
            "seeds": 5,
            "protocol": "of the best policy",
            "returns": {"Reacher-v5": {"SAC": {100: [9, 1], 200: [11, 1]}, "PPO": {300: [8, 1]}}},
        }
    }
}


def row(steps, seconds, height, **more):
    evaluation = {"eval/return": height, "eval/stochastic_return": height - 1.0} if height is not None else {}
    counts = {"iteration": steps, "env_steps": steps, "seconds": seconds + 5.0, "eval_seconds": 5.0}
    return {**counts, **evaluation, **more}


@pytest.fixture
def output(tmp_path):
    """SHAC is finished, SAC on one task only; one run of PPO failed and the others were not started."""
    output = tmp_path / "made-up"
    (output / "runs").mkdir(parents=True)
    (output / "comparison.yaml").write_text(yaml.safe_dump(COMPARISON, sort_keys=False))
    (output / "references.yaml").write_text(yaml.safe_dump(REFERENCES))
    (output / "table.csv").write_text("Task,SHAC,SAC\nReacher-v5,9 ± 1,8 ± 1\nSwimmer-v5,5 ± 1,\n")
    for run in read_comparison(find_comparison(output), output).runs:
        if run.label.startswith("slow"):
            if run.seed == 0 and run.task == "Reacher-v5":
                run.error.write_text("it fell | over <b>\n")
            continue
        run.folder.path.mkdir()
        run.folder.config.write_text(f"task: {run.task}\nmark: <{run.label}>\n")
        run.folder.machine.write_text("an abacus\n")
        top = 4.0 + 4.0 * run.seed if run.label == "SHAC" else 6.0
        rows = [row(0, 0, 0.0), row(25, 10, None, grad_norm=2.0), row(50, 20, top / 2), row(100, 40, top)]
        unfinished = run.label == "SAC" and run.task == "Swimmer-v5"
        run.folder.write_metrics(rows[:3] if unfinished else rows)
        if not unfinished:
            episodes = [("mean", top), ("mean", top + 2), ("sampled", top - 1), ("sampled", top - 3)]
            columns = [{"actions": kind, "seed": i, "return": total} for i, (kind, total) in enumerate(episodes)]
            write_table(run.folder.final, columns)
    return output


@pytest.fixture
def results(output):
    comparison = read_comparison(find_comparison(output), output)
    return Results(comparison, load(comparison))


def cells(grid, name):
    """The row of an algorithm, by heading."""
    (found,) = [row for row in grid.rows if row[0] == name]
    return dict(zip(grid.header, found, strict=True))


def test_states_of_runs(results):
    states = {result.run.folder.path.name: result.state for result in results.all if result.run.seed == 0}
    assert list(states.values()) == ["finished", "finished", "failed", "finished", "unfinished", "not started"]


def test_scores_by_hand(results):
    """SHAC's seeds end at 4 and 8; its two final episodes at 4, 6 and 8, 10: mean 7, deviation 2 over the seeds."""
    references, _ = read_references(results.comparison.references)
    found = cells(score_table(results, "Reacher-v5", matching(references, "Reacher-v5", {"SHAC": 100})), "SHAC")
    assert found["final return"] == "7.00 ± 2.00" and found["runs"] == "2/2" and found["seconds"] == "40.0 ± 0.00"
    assert found["sampled actions"] == "4.00 ± 2.00"
    assert found["area under curve"] == "3.00 ± 1.00", "linear from 0 to 4 and to 8: means 2 and 4"
    assert found["interquartile mean"] == "7.00", "two seeds have no interval"


def test_area_under_the_curve_up_to_the_budget_by_hand():
    """0 to 10 over 50 steps, then 10: (5 * 50 + 10 * 50) / 100 = 7.5; evaluations beyond the budget are ignored."""
    steps, heights = np.array([0.0, 50, 100, 150]), np.array([0.0, 10, 10, 1000])
    assert area(Curve(steps, steps, heights, heights), 100) == pytest.approx(7.5)
    uneven = np.array([0.0, 50, 150, 200])
    assert area(Curve(uneven, steps, heights, heights), 100) == pytest.approx(7.5), "a last evaluation beyond it"


def test_scores_are_normalised_by_task_and_combined(results):
    """SHAC's final returns 5 and 9 are scores 0.5, 0.9 of 10 and 0.25, 0.45 of 20. The middle half: 0.45, 0.5."""
    grid = overall_table(results)
    assert [line[0] for line in grid.rows] == ["SHAC"], "only with finished runs on every task"
    found = cells(grid, "SHAC")
    assert found["runs"] == "4" and found["final score"].startswith(f"{(0.45 + 0.5) / 2:.2f}"[:3])
    assert improvement_table(results).rows == [["SHAC", ""]]


def test_steps_and_seconds_to_a_threshold_are_those_of_the_first_evaluation_above_it(results):
    grid = threshold_table(results, "Reacher-v5")
    assert grid is not None and threshold_table(results, "Swimmer-v5") is None
    found = cells(grid, "SHAC")  # seed 0 reaches 4 at 100 steps, seed 1 at 50
    assert (found["env steps to 4"], found["seconds to 4"], found["seeds that reached 4"]) == ("75", "30.0", "2/2")
    assert (found["env steps to 100"], found["seeds that reached 100"]) == ("-", "0/2")


def test_returns_after_steps_and_after_seconds(results):
    steps, seconds = progress_tables(results, "Reacher-v5")
    assert cells(steps, "SHAC")["100 env steps"] == "6.00 ± 2.00"
    assert cells(seconds, "SHAC")["10 s"] == "0.00 ± 0.00" and cells(seconds, "SHAC")["30 s"] == "3.00 ± 1.00"
    swimmer, _ = progress_tables(results, "Swimmer-v5")
    assert cells(swimmer, "SHAC")["100 env steps"] and "SAC" not in [line[0] for line in swimmer.rows]


def test_published_returns_are_used_if_task_and_budget_match(results):
    references, sources = read_references(results.comparison.references)
    budgets = {"SAC": 100, "PPO": 100}
    assert [r.mean for r in matching(references, "Reacher-v5", budgets)] == [9.0]
    assert matching(references, "diffsim/Reacher-v5", {"SAC": 200})[0].mean == 11.0
    assert not matching(references, "Swimmer-v5", budgets) and list(sources) == ["paper"]
    assert common_range(results, "Reacher-v5", references)[1] > 11


def test_curves_are_averaged_up_to_the_shortest_run(results):
    at, means, sampled = mean_curve(results, "Swimmer-v5", "SAC", "env_steps")
    np.testing.assert_array_equal(at, [0, 50])
    np.testing.assert_allclose(means.mean(0), [0, 3])
    np.testing.assert_allclose(sampled.mean(0), [-1, 2])
    assert mean_curve(results, "Swimmer-v5", "slow <PPO>", "env_steps") is None


@pytest.mark.parametrize(("last", "powers"), [(20.0, [1.0, 10.0]), (0.5, [1.0])])
def test_a_logarithmic_axis_shows_nothing_below_zero(last, powers):
    axes = Figure().subplots()
    axes.plot([0.0, last / 2, last], [1.0, 2.0, 3.0])
    logarithmic_from_zero(axes, 1.0)
    axes.figure.canvas.draw()
    assert axes.get_xticks().tolist() == [0.0, *powers] and not len(axes.get_xticks(minor=True))
    left, end = axes.get_xlim()
    assert -0.2 < left < 0.0 and end == pytest.approx(1.1 * max(last, 1.0))


class Page(html.parser.HTMLParser):
    """Collects the links and pictures of a page, and checks that its elements close in order."""

    def __init__(self):
        super().__init__()
        self.pictures, self.links, self.tags, self.open = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        attributes = dict(attrs)
        if tag == "img":
            self.pictures.append(attributes)
        if tag in ("a", "link"):
            self.links.append(attributes["href"])
        if tag not in ("img", "meta", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_self_contained_and_complete(output, capsys):
    assert main(["report", str(output)]) == 0
    assert "index.html" in capsys.readouterr().out
    text = (output / "report" / "index.html").read_text()
    page = Page()
    page.feed(text)
    assert not page.open and "script" not in page.tags
    assert len(page.pictures) >= 14
    assert all(picture["src"].startswith("data:image/png;base64,") and picture["alt"] for picture in page.pictures)
    assert not re.findall(r"https?://", text), "no network"
    folders = [link for link in page.links if link.startswith("../")]
    assert len(folders) == 8 and all((output / "report" / link).resolve().is_dir() for link in folders)
    for words in (
        "an abacus: 8 runs",
        "mark: &lt;SHAC&gt;",
        "it fell | over &lt;b&gt;",
        "whole episodes",
        "A paper",
        "Another paper",
    ):
        assert words in text, words
    markdown = (output / "report" / "report.md").read_text()
    assert "it fell \\| over" in markdown and "| SHAC | 100 | 2/2 | 7.00 ± 2.00 |" in markdown
    assert "| Reacher-v5 |  | 7.00 ± 2.00 / 9.00 ± 1.00 | 7.00 ± 0.00 / 8.00 ± 1.00 |  |  |" in markdown
    assert "| Swimmer-v5 |  | - / 5.00 ± 1.00 |  |  |  |" in markdown, "no episode ended in training"
    for name in re.findall(r"!\[.*?\]\((.*?)\)", markdown):
        assert (output / "report" / name).read_bytes().startswith(b"\x89PNG")


def test_a_task_has_no_curves_of_a_family_that_it_skips(output):
    tasks = {**COMPARISON["tasks"], "Swimmer-v5": {"skip": ["SHAC"]}}
    (output / "comparison.yaml").write_text(yaml.safe_dump({**COMPARISON, "tasks": tasks}, sort_keys=False))
    folder = write_report(output).parent
    found = {path.name for path in folder.glob("curves-*-env-steps.png")}
    families = {"reacher-v5": ("pathwise", "value-gradient", "likelihood-ratio")}
    families["swimmer-v5"] = families["reacher-v5"][1:]
    shared = {f"curves-{task}-env-steps.png" for task in families}
    assert found == shared | {f"curves-{task}-{family}-env-steps.png" for task in families for family in families[task]}


def test_an_algorithm_has_one_style_in_all_comparisons():
    first = styles({"SHAC": "SHAC", "PPO": "PPO", "PPO, long": "PPO", "Mine": "my_module:Mine"})
    assert styles({"other": "PPO"})["other"] == first["PPO"] and len({style[:2] for style in first.values()}) == 4
    assert (first["PPO"].linestyle, first["PPO, long"].linestyle) == ("-", "--")
    assert first["PPO"].color == first["PPO, long"].color
    ours = styles({name: name for name in ALGORITHMS})
    assert len({style[:2] for style in ours.values()}) == len(ours)


def test_one_panel_has_all_algorithms_and_a_legend_for_grey_lines(results, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(pictures, "finish", lambda figure, axes, path: drawn.append(axes))
    for labels in (results.labels, ["SAC"]):
        draw_curves(results, "Reacher-v5", labels, "env_steps", [], tmp_path / "x.png", "title")
    shared, single = ([line.get_label() for line in axes.lines] for axes in drawn)
    assert {"SHAC", "SAC"} <= set(shared) and "other algorithms" not in shared
    assert "other algorithms" in single and "SHAC" not in single


def test_unequal_budgets_are_told(output):
    path = output / "comparison.yaml"
    algorithms = {**COMPARISON["algorithms"], "SAC": {"env_steps": 5000}}
    path.write_text(yaml.safe_dump({**COMPARISON, "algorithms": algorithms}, sort_keys=False))
    comparison = read_comparison(path, output)
    results = Results(comparison, load(comparison))
    words = unequal_budgets(results)
    assert "on Swimmer-v5: SAC 5,000, SHAC 100" in words
    assert {row[0] for row in by_task(results, "Reacher-v5")} == {"SHAC, 100 steps", "SAC, 5,000 steps"}


def test_two_seeds_have_no_intervals_and_no_profiles(output):
    folder = write_report(output).parent
    text = (folder / "report.md").read_text()
    assert "need 3 seeds" in text and not list(folder.glob("profile-*")) and "95% interval" not in text
    assert "Budgets differ" not in text


def test_a_comparison_without_results_has_a_page(tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "comparison.yaml").write_text("options: {env_steps: 9}\ntasks: [Reacher-v5]\nalgorithms: [BPTT]\n")
    text = write_report(tmp_path).read_text()
    assert "1 not started" in text and "once an algorithm has finished runs on all of them" in text


def test_report_refuses_a_folder_without_a_comparison(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 2
    assert "DIR must be the folder of a comparison" in capsys.readouterr().err


PROBE = """<script>
window.addEventListener("load", () => {
  const wide = document.documentElement.scrollWidth, images = [...document.images];
  const shown = images.filter(image => image.complete && image.naturalWidth > 300).length;
  parent.postMessage(`probe width ${wide} of ${window.innerWidth} images ${shown} of ${images.length}`, "*");
});
</script>"""
FRAME = """<title>nothing yet</title>
<script>addEventListener("message", event => { document.title = event.data; });</script>
<iframe src="probe.html" style="border: 0; width: %dpx; height: 900px"></iframe>"""


@pytest.mark.skipif(BROWSER is None, reason="needs chromium")
@pytest.mark.parametrize("width", [1280, 400])
def test_a_browser_shows_the_page_without_errors(output, tmp_path, width):
    """All pictures load, nothing is wider than the window, and the console has no messages.

    The test inserts a script to measure the page, which has none itself. Chromium's windows are at least 500 pixels
    wide, so the page is shown in a frame.
    """
    text = write_report(output).read_text()
    probe = tmp_path / "probe.html"
    probe.write_text(text.replace("</body>", PROBE + "</body>"))
    frame = tmp_path / "frame.html"
    frame.write_text(FRAME % width)
    command = [str(BROWSER), "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1400,1000", "--virtual-time-budget=2000"]
    done = subprocess.run([*command, "--dump-dom", frame.as_uri()], capture_output=True, text=True, timeout=120)
    assert "CONSOLE" not in done.stderr, done.stderr
    found = re.search(r"<title>probe width (\d+) of (\d+) images (\d+) of (\d+)</title>", done.stdout)
    assert found, done.stderr[-2000:]
    wide, window, shown, images = map(int, found.groups())
    assert window == width >= wide and shown == images >= 14

"""README, docs and CONTRIBUTING name what exists, and say what the committed results say."""

import contextlib
import importlib.util
import io
import json
import re
from pathlib import Path

import pytest
import yaml

from fdpo.evaluation.metric_registry import HEADLINE_METRICS
from fdpo.losses import LOSSES, NAMED

ROOT = Path(__file__).parent.parent
FOLDERS = (".", "docs", "data", "models")
PAGES = sorted(page for folder in FOLDERS for page in (ROOT / folder).glob("*.md"))
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
STUDIES = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "studies").glob("*.yaml"))]

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def code(text: str) -> str:
    """Blocks of code and code within lines, joined by line ends."""
    blocks = re.findall(r"^```.*?\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", without_code(text))]
    return "\n".join([*blocks, *spans])


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(
        r"^#+ (.*)$", without_code(page.read_text(encoding="utf-8")), re.MULTILINE
    )
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def table(text: str, first_cell: str) -> list[list[str]]:
    """The rows of the table whose header begins with `first_cell`, without its two head lines."""
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith(f"| {first_cell} |"):
            break
    next(lines)
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    assert rows, f"no table headed {first_cell!r}"
    return rows


@each_page
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text(encoding="utf-8"))):
        if target.startswith(("https://", "http://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{target}: no such file"
        if anchor:
            assert anchor in anchors(linked), f"{target}: no such heading"


@each_page
def test_what_code_names_exists(page):
    """Targets of make, modules, settings of `-S`, and paths."""
    text = code(page.read_text(encoding="utf-8"))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for words in re.findall(r"(?:^|(?<=&& ))make ([a-z][a-z -]*)", text, re.MULTILINE):
        assert set(words.split()) <= targets, f"make {words}"
    for name in re.findall(r"python -m ([\w.]+)", text):
        assert importlib.util.find_spec(name), f"python -m {name}"
    for key in re.findall(r"-S [\"']?(\w+)=", text):
        assert key in PARAMS, key
    for key in re.findall(r"-S [\"']?studies/\w+\.yaml:([\w.]+)=", text):
        section, name, *_ = key.split(".")
        assert any(name in study.get(section, {}) for study in STUDIES), key
    folders = "fdpo|stages|experiments|benchmarks|launch|studies|tests|docs"
    for name in re.findall(rf"^((?:{folders})/[\w./-]*\w)/?$", text, re.MULTILINE):
        assert "NAME" in name or (ROOT / name).exists(), name


def test_readme_has_a_row_for_each_loss_with_its_curvature_and_source():
    rows = table((ROOT / "README.md").read_text(encoding="utf-8"), "`loss`")
    stated = {name.strip("`"): (curvature, source) for name, _, _, curvature, source in rows}
    assert list(stated) == [loss.name for loss in NAMED]
    for name, (curvature, source) in stated.items():
        assert float(curvature.replace("½", "0.5")) == LOSSES[name].curvature
        assert LOSSES[name].source.removeprefix("arXiv ") in source


def test_the_default_run_in_readme_is_the_committed_one():
    metrics = json.loads((ROOT / "results/evaluate/metrics.json").read_text(encoding="utf-8"))
    rows = table((ROOT / "README.md").read_text(encoding="utf-8"), "metric")
    shown = "{value:.3f} [{low:.3f}, {high:.3f}]"
    assert {name.strip("`"): value for name, _, value in rows} == {
        metric.name: shown.format(**metrics[metric.name]) for metric in HEADLINE_METRICS
    }


def test_python_examples_run(monkeypatch, capsys):
    """Those that need no run of the pipeline; they read the committed results."""
    monkeypatch.chdir(ROOT)
    page = (ROOT / "docs/python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE)
    for block in blocks:
        exec(compile(block, "docs/python.md", "exec"), {})  # noqa: S102 - our own page
    headline = json.loads((ROOT / "results/metrics.json").read_text(encoding="utf-8"))
    assert f"{headline['reward']} {headline['kl']}" in capsys.readouterr().out


def test_the_notebook_runs_and_shows_what_the_committed_results_give(monkeypatch):
    """Its code, cell after cell; what cells print is compared with what they show."""
    monkeypatch.chdir(ROOT / "docs")
    path = ROOT / "docs/results.ipynb"
    namespace: dict[str, object] = {}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec("".join(cell["source"]), namespace)  # noqa: S102 - our own page
            stated = [line for out in cell["outputs"] for line in out.get("text", [])]
            assert printed.getvalue() == "".join(stated)

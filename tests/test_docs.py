"""README, docs and CONTRIBUTING name what exists, and say what the committed results say."""

import contextlib
import importlib.util
import io
import json
import math
import re
import textwrap
from collections import defaultdict
from pathlib import Path

import pytest
import torch
import yaml

from fdpo import losses
from fdpo.config.params import check_params
from fdpo.core import records
from fdpo.core.errors import UserError
from fdpo.evaluation.metric_registry import HEADLINE_METRICS
from fdpo.losses import LOSSES, Objective, f_dpo_loss

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "data/README.md")),
        ROOT / "models/README.md",
        *(ROOT / "docs").glob("*.md"),
    ]
)
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))

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


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


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


def test_every_page_of_docs_is_linked_from_readme_or_another_page():
    linked = set()
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            linked.add((page.parent / target).resolve())
    assert set((ROOT / "docs").glob("*.md")) <= linked


@each_page
def test_make_targets_exist(page):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for words in re.findall(r"(?:^|(?<=&& ))make ([a-z][a-z -]*)", code_of(page), re.MULTILINE):
        assert set(words.split()) <= targets, f"make {words}"


@each_page
def test_modules_exist(page):
    for name in re.findall(r"python -m ([\w.]+)", code_of(page)):
        assert importlib.util.find_spec(name), f"python -m {name}"


@each_page
def test_settings_exist(page):
    """Of `-S key=value`, and of code that is a section's path such as `train.lora`."""
    text = code_of(page)
    studies = list(PARAMS["studies"].values())
    for key in re.findall(r"-S [\"']?([\w.]+)=", text):
        keys = key.split(".")
        if keys[:2] == ["studies", "mine"]:  # the reader's own, like any other
            assert any(has(study, keys[2:]) for study in studies), key
        else:
            assert has(PARAMS, keys), key
    sections = "|".join(studies[0])
    for key in re.findall(rf"^(?:studies\.\w+\.)?((?:{sections})(?:\.\w+)+)\b", text, re.MULTILINE):
        if not key.endswith((".py", ".jsonl")):
            assert any(has(study, key.split(".")) for study in studies), key


def code_of(page: Path) -> str:
    return code(page.read_text(encoding="utf-8"))


def has(section: object, keys: list[str]) -> bool:
    for key in keys:
        if not isinstance(section, dict) or key not in section:
            return False
        section = section[key]
    return True


@each_page
def test_files_named_in_code_exist_or_are_outputs(page):
    """Paths under the folders of the project, as code within lines names them."""
    outputs = ("data/", "models/", "results/")
    pattern = r"(?:fdpo|stages|experiments|benchmarks|configs|tests|docs)/[\w./-]*\w"
    for name in re.findall(rf"^({pattern})/?$", code_of(page), re.MULTILINE):
        if not name.startswith(outputs) and "NAME" not in name:
            assert (ROOT / name).exists(), name


def test_readme_has_a_row_for_each_loss_with_its_curvature_and_source():
    rows = table((ROOT / "README.md").read_text(encoding="utf-8"), "`loss`")
    stated = {name.strip("`"): (curvature, source) for name, _, _, curvature, source in rows}
    assert list(stated) == list(LOSSES)
    for name, (curvature, source) in stated.items():
        assert float(curvature.replace("½", "0.5")) == LOSSES[name].curvature
        assert LOSSES[name].source.removeprefix("arXiv ") in source


def test_the_default_run_in_readme_is_the_committed_one():
    rows = table((ROOT / "README.md").read_text(encoding="utf-8"), "metric")
    stated = {name.strip("`"): value for name, _, value in rows}
    assert stated == {metric.name: shown(metric.name) for metric in HEADLINE_METRICS}


def test_the_answer_in_readme_is_the_report_s():
    """The verdict word by word, what size of difference could be found, and what the judge says."""
    report = (ROOT / "results/report/report.md").read_text(encoding="utf-8")
    controlled = report.split("\n## controlled\n")[1].split("\n## ")[0]
    answer = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert re.search(r"\*\*.+?\*\*", controlled).group() in answer
    size = re.search(r"finds a difference in reward of ([\d.]+) 8 times in 10", controlled)
    assert f"finds a difference in reward of {size.group(1)} eight times in ten" in answer
    rise = re.search(r"the largest rise is ([\d.]+)", controlled)
    assert f"the largest rise in reward is {float(rise.group(1)):.2f}" in answer
    ahead = re.search(r"By the judge (\d+) of \d+ pairs", controlled)
    assert (int(ahead.group(1)) > 0) == ("The judge puts" in answer)


def test_the_runs_in_which_reward_and_judge_rise_are_counted():
    sweep = json.loads((ROOT / "experiments/results/controlled.json").read_text(encoding="utf-8"))
    metrics = [row["metrics"] for row in sweep["rows"].values()]
    risen = [m for m in metrics if m["reward_difference"]["low"] > 0]
    confirmed = [m for m in risen if m["judge_difference"]["low"] > 0]
    accurate = [m for m in metrics if m["accuracy"]["low"] > 0.5]
    answer = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert (
        f"{len(metrics)} runs, and in {len(confirmed)} of them the reward and the judge" in answer
    )
    faq = " ".join((ROOT / "docs/faq.md").read_text(encoding="utf-8").split())
    assert f"in {len(risen)} of {len(metrics)} runs" in faq
    assert f"above 1/2 by more than noise in {len(accurate)}." in faq


def test_the_default_run_in_docs_is_the_committed_one():
    rows = table((ROOT / "docs/embedded.md").read_text(encoding="utf-8"), "metric")
    names = {
        "reward, policy − reference": "reward_difference",
        "judge, policy − reference": "judge_difference",
        "judge of the reference": "judge_reference",
        "KL by plain Monte Carlo, nats per completion": "kl_monte_carlo",
        "calibration error": "calibration_error",
    }
    assert {names[label]: stated for label, stated in rows} == {
        name: shown(name) for name in names.values()
    }


def shown(name: str) -> str:
    metrics = json.loads((ROOT / "results/evaluate/metrics.json").read_text(encoding="utf-8"))
    metric = metrics[name]
    return f"{metric['value']:.3f} [{metric['low']:.3f}, {metric['high']:.3f}]"


FORMATS = {
    "data/prompts.jsonl": (records.Prompt, records.TextPair),
    "data/generations.jsonl": (
        records.Generation,
        records.Completion,
        records.BaselineSamples,
        records.TemperedSamples,
        records.TemperedCompletion,
    ),
    "data/scores.jsonl": (),  # the two fields that it adds are compared below
    "data/pairs.jsonl": (records.Pair,),
    "results/evaluate/samples.jsonl": (records.HeldoutSamples, records.PolicySample),
}


@pytest.mark.parametrize("file", FORMATS)
def test_every_field_of_a_record_is_described(file):
    page = (ROOT / "docs/data-formats.md").read_text(encoding="utf-8")
    section = page.split(f"## {file}\n", 1)[1].split("\n## ", 1)[0]
    fields = [name for kind in FORMATS[file] for name in kind.model_fields]
    if file == "data/scores.jsonl":
        fields = sorted(
            set(records.ScoredCompletion.model_fields) - set(records.Completion.model_fields)
        )
    assert fields
    assert [name for name in fields if f"`{name}`" not in section] == []


def test_contributing_says_what_a_change_makes_out_of_date():
    stages = defaultdict(list)
    for name, stage in PIPELINE.items():
        for dep in stage["deps"]:
            if dep.startswith(("fdpo/", "stages/")) and not dep.endswith(
                ("fdpo/__init__.py", f"stages/{name}.py")
            ):
                stages[dep].append(f"`{name}`")
    rows = [
        f"| `{dep}` | {'all' if len(names) == len(PIPELINE) else ', '.join(names)} |"
        for dep, names in sorted(stages.items())
    ]
    right = "\n".join(["| a change in | makes out of date |", "|---|---|", *rows])
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert f"\n{right}\n\n" in text, f"the table should be\n{right}"


def test_the_study_that_docs_write_is_one():
    """`prepare` as docs/own-study.md has it, in a copy of `imdb-published` as it says."""
    text = (ROOT / "docs/own-study.md").read_text(encoding="utf-8")
    block = re.search(r"^```yaml\n(.*?)^```", text, re.DOTALL | re.MULTILINE).group(1)
    (section,) = yaml.safe_load(block.replace("sha256: ...", f"sha256: {'a' * 64}")).values()
    mine = PARAMS["studies"]["imdb-published"] | section
    settings = check_params(PARAMS | {"study": "mine", "studies": {"mine": mine}})
    assert settings.active.prepare.source == "pairs"


def test_the_loss_that_contributing_adds_is_one(monkeypatch):
    """It is a loss for this test's duration: params.yaml may name it, and it has its values."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    code, row = re.findall(r"^ *```python\n(.*?)^ *```", text, flags=re.DOTALL | re.MULTILINE)
    link, entry = textwrap.dedent(code).strip().split("\n\n\n")
    namespace = dict(vars(losses)) | {
        "Tensor": torch.Tensor,
        "LN2": math.log(2),
        "SQRT2": math.sqrt(2),
    }
    exec(link, namespace)  # noqa: S102 - our own page
    added = eval(entry, namespace)  # noqa: S307
    ((name, by_hand),) = eval(row.strip(), namespace).items()  # noqa: S307
    assert name == added.name
    with pytest.raises(UserError, match=f"loss = '{name}'"):
        check_params(PARAMS | {"loss": name})

    monkeypatch.setitem(LOSSES, name, added)
    assert check_params(PARAMS | {"loss": name}).loss == name
    generator, at_ln2, at_0, _, of_a_pair, without_a_margin = by_hand
    u = torch.ones(1, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(generator(u).sum(), u, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), u)
    assert curvature.item() == pytest.approx(added.curvature)
    ln2, zero = math.log(2) * torch.ones(1, dtype=torch.float64), torch.zeros(1)
    objective = Objective(name, beta=2.0, alpha=0.5)
    loss, chosen, rejected = f_dpo_loss(objective, ln2, zero, zero, zero)
    assert (chosen - rejected).item() == pytest.approx(2 * (at_ln2 - at_0))
    assert loss.item() == pytest.approx(of_a_pair)
    assert f_dpo_loss(objective, zero, zero, zero, zero)[0].item() == pytest.approx(
        without_a_margin
    )


def test_python_examples_run(monkeypatch, capsys):
    """Those that need no run of the pipeline; they read the committed results."""
    monkeypatch.chdir(ROOT)
    page = (ROOT / "docs/python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 3
    for block in blocks:
        exec(compile(block, "docs/python.md", "exec"), {})  # noqa: S102 - our own page
    headline = json.loads((ROOT / "results/metrics.json").read_text(encoding="utf-8"))
    assert f"{headline['reward']} {headline['kl']}" in capsys.readouterr().out


def test_the_notebook_runs_and_shows_what_the_committed_results_give(monkeypatch):
    """Its code, cell after cell; what cells print is compared with what they show."""
    monkeypatch.chdir(ROOT / "docs")
    path = ROOT / "docs/results.ipynb"
    assert path.stat().st_size < 60_000
    namespace: dict[str, object] = {}
    printing = 0
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec("".join(cell["source"]), namespace)  # noqa: S102 - our own page
            stated = [line for out in cell["outputs"] for line in out.get("text", [])]
            assert printed.getvalue() == "".join(stated)
            printing += bool(stated)
    assert printing == 2

"""The whole report, made from invented results and opened in Chromium."""

import re
from pathlib import Path

import pytest

from experiments.report import __main__ as report
from experiments.report.markdown import escape
from fdpo.core import errors
from tests.support import report_fakes
from tests.support.browser import Opened, opened

pytestmark = pytest.mark.browser

CONTROLLED = report_fakes.controlled(3, text=report_fakes.NASTY)
ODD = report_fakes.seed_table()
ODD["rows"]["odd_.row_-1"] = ODD["rows"].pop("fkl-b1-s1")
PICTURES = {
    "pairs",
    "kl",
    "entropy",
    "distinct_2",
    "judge",
    "calibration",
    "loss",
    "margin",
    "accuracy",
}

A4_WITHIN_MARGINS = {"width": 1031, "height": 703}  # 273 x 186 mm at 96 pixels an inch
PRINTED_SHEETS = 38  # of the two sweeps, by the width of the machine's letters


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """results/report of two sweeps, one of whose rows has as odd a name as may be."""
    folder = tmp_path_factory.mktemp("report")
    report_fakes.write(folder / "experiments/results", CONTROLLED, ODD)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("sys.argv", ["report"])
        report.main()
    return folder / "results/report"


@pytest.fixture(scope="module")
def page(written):
    with opened(written / "index.html") as found:
        yield found


def names(page: Opened, sweep: str) -> list[str]:
    """The first column of a sweep's first table of rows, as it stands."""
    table = page.page.locator(f"[id='{sweep}-rows'] table").first
    return table.locator("tbody td:first-child").all_inner_texts()


def press(page: Opened, sweep: str, header: str) -> None:
    table = page.page.locator(f"[id='{sweep}-rows'] table").first
    table.get_by_role("button", name=header, exact=True).click()


def test_it_opens_from_disk_without_errors_and_without_the_network(page, written):
    assert page.errors == []
    assert page.requests == [(written / "index.html").as_uri()]


def test_every_chart_is_drawn(page):
    for sweep in ("controlled", "seed-table"):
        for name in PICTURES:
            figure = page.page.locator(f"[id='{sweep}-{name}']")
            assert figure.locator("svg").count() == 1, f"{sweep}-{name}"
            assert figure.locator("svg path").count() > 10, f"{sweep}-{name}"
    marks = page.page.locator("#controlled-kl svg .mark-symbol path[aria-roledescription=point]")
    assert marks.count() == 20 + 60 + 1  # points, single seeds, the reference


def test_all_rows_are_there_with_their_intervals(page):
    for sweep in (CONTROLLED, ODD):
        assert sorted(names(page, sweep["sweep"])) == sorted(sweep["rows"])
    row = CONTROLLED["rows"]["sigmoid-b0.1-s2"]["metrics"]["kl"]
    expected = f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
    text = page.page.locator("#controlled-rows tr", has_text="sigmoid-b0.1-s2").first.inner_text()
    assert expected in " ".join(text.split())


def test_a_click_on_a_header_sorts_and_another_turns_it_round(page):
    kls = {name: row["metrics"]["kl"]["value"] for name, row in CONTROLLED["rows"].items()}
    press(page, "controlled", "kl")
    assert names(page, "controlled") == sorted(kls, key=kls.get)
    press(page, "controlled", "kl")
    assert names(page, "controlled") == sorted(kls, key=kls.get, reverse=True)
    press(page, "controlled", "row")
    assert names(page, "controlled")[0] == "alpha-b0.03-s1"


def test_a_picture_can_be_taken_for_screen_and_print(page, tmp_path):
    """A page whose content is wider than the window would need scrolling sideways."""
    assert page.page.evaluate("document.documentElement.scrollWidth") <= 1280
    page.page.screenshot(path=tmp_path / "page.png", full_page=True)
    assert (tmp_path / "page.png").stat().st_size > 100_000  # a blank page has some 10 kB


def test_scatters_fit_a_phone_and_what_does_not_says_that_it_scrolls(page):
    """In a window of 390 pixels, and then as before in a wide one."""
    scatter = page.page.locator("#controlled-kl")
    page.page.set_viewport_size({"width": 390, "height": 900})
    page.page.wait_for_function("document.querySelector('#controlled-kl svg')?.clientWidth < 360")
    for name in ("kl", "entropy", "distinct_2", "judge", "pairs"):
        chart = page.page.locator(f"#controlled-{name}")
        sizes = chart.evaluate("box => [box.scrollWidth, box.clientWidth]")
        assert sizes[0] <= sizes[1] <= 358, (name, sizes)
    smallest = "texts => Math.min(...texts.map(t => t.getBoundingClientRect().height))"
    assert scatter.locator("svg text").evaluate_all(smallest) > 10  # as drawn, not shrunk
    hint = "box => getComputedStyle(box, '::before').content"
    assert "scroll sideways" in page.page.locator("#controlled-loss").evaluate(hint)
    assert "scroll sideways" not in scatter.evaluate(hint)
    page.page.set_viewport_size({"width": 1280, "height": 900})
    page.page.wait_for_function("document.querySelector('#controlled-kl svg')?.clientWidth > 900")
    assert "scroll sideways" not in page.page.locator("#controlled-loss").evaluate(hint)


def test_print_uses_the_paper(page):
    """Blocks that do not break, which are charts, are small enough to leave little empty."""
    sheets = len(re.findall(rb"/Type /Page\b", page.page.pdf(prefer_css_page_size=True)))
    assert sheets <= PRINTED_SHEETS
    page.page.emulate_media(media="print")
    page.page.set_viewport_size(A4_WITHIN_MARGINS)
    try:
        height, width = A4_WITHIN_MARGINS["height"], A4_WITHIN_MARGINS["width"]
        for figure in page.page.locator("figure.chart").all():
            assert figure.evaluate("box => getComputedStyle(box).breakInside") == "avoid"
            box = figure.bounding_box()
            assert box["height"] < height / 2, figure.get_attribute("id")
            assert box["width"] <= width, figure.get_attribute("id")
        curves = page.page.locator("#controlled-curves ~ figure").all()
        assert sum(figure.bounding_box()["height"] for figure in curves[:3]) < 0.85 * height
        assert page.page.evaluate("document.documentElement.scrollWidth") <= width
        first_table = page.page.locator("#controlled-comparison").bounding_box()
        last_chart = curves[-1].bounding_box()
        assert last_chart["y"] + last_chart["height"] < first_table["y"] + 1
    finally:
        page.page.emulate_media(media="screen")
        page.page.set_viewport_size({"width": 1280, "height": 900})


def test_text_of_models_and_data_is_text(page):
    page.page.evaluate("for (const fold of document.querySelectorAll('details')) fold.open = true")
    samples = page.page.locator("#controlled-samples ~ .folds details").first
    assert report_fakes.NASTY.strip() in samples.locator("li").first.inner_text()
    assert report_fakes.NASTY in samples.locator(".sample p").first.text_content()
    assert page.page.locator("body b").count() == 0
    assert page.errors == []  # an alert would have stood there as an error


def test_the_answer_is_on_the_first_screen(page):
    page.page.set_viewport_size({"width": 1400, "height": 1000})
    verdict = page.page.locator(".verdict").first
    box = verdict.bounding_box()
    assert box["y"] + box["height"] < 1000
    assert "equal KL" in verdict.inner_text()
    pairs = page.page.locator("#controlled-pairs").bounding_box()
    assert pairs["y"] + pairs["height"] < 1000
    page.page.set_viewport_size({"width": 1280, "height": 900})


def test_every_chart_says_what_it_shows(page):
    for figure in page.page.locator("figure.chart").all():
        label = figure.get_attribute("aria-label")
        assert len(label) > 40, label
    shown = page.page.locator("#controlled-kl").get_attribute("aria-label")
    assert "The highest is" in shown
    assert "nats per completion" in shown


def test_samples_are_filtered_by_what_is_typed(page):
    rows = page.page.locator("#controlled-samples ~ .folds").first.locator("details.row")
    everything = rows.count()
    page.page.locator(".filter input").first.fill("JSD b0.1-s2")
    assert rows.filter(visible=True).locator("summary").all_inner_texts() == ["jsd-b0.1-s2"]
    page.page.locator(".filter input").first.fill("")
    assert rows.filter(visible=True).count() == everything == 60


def test_two_policies_stand_side_by_side_on_one_prompt(page):
    fields = page.page.locator(".compare").first
    headings = fields.locator(".sample h4")
    left, right = headings.all_inner_texts()
    assert left.split("-")[0] != right.split("-")[0]
    fields.locator("[name=left]").select_option("fkl-b0.1-s1")
    fields.locator("[name=right]").select_option("jsd-b0.1-s2")
    fields.locator("[name=prompt]").select_option(index=1)
    assert headings.all_inner_texts() == ["fkl-b0.1-s1", "jsd-b0.1-s2"]
    for row, column in zip(("fkl-b0.1-s1", "jsd-b0.1-s2"), fields.locator("ul").all(), strict=True):
        texts = [sample["text"] for sample in CONTROLLED["rows"][row]["samples"][1]["policy"]]
        shown = column.locator("li").all_inner_texts()
        assert len(shown) == len(texts)
        assert all(text.strip() in said for text, said in zip(texts, shown, strict=True))


def test_markdown_has_the_same_tables_and_its_pictures_exist(written):
    _, *sections = (written / "report.md").read_text(encoding="utf-8").split("\n## ")
    for section, sweep in zip(sections, (CONTROLLED, ODD), strict=True):
        for name in sweep["rows"]:
            assert section.count(f"\n| {escape(name)} ") == 6  # the overview and five groups
        for name in PICTURES:
            picture = f"{sweep['sweep']}-{name}.svg"
            assert f"]({picture})" in section
            assert 5_000 < (written / picture).stat().st_size < 150_000


def test_one_row_without_intervals_makes_a_report(tmp_path, monkeypatch):
    row = report_fakes.row("sigmoid", 1, 1)
    for metric in row["metrics"].values():
        metric |= {"low": None, "high": None}  # as evaluation leaves them with too few prompts
    report_fakes.write(
        tmp_path / "experiments/results", report_fakes.sweep("single", {"sigmoid-b1-s1": row})
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["report"])
    report.main()
    assert {path.name for path in tmp_path.glob("results/report/*.svg")} == {
        f"single-{name}.svg" for name in PICTURES
    }


def test_it_refuses_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["report", "seed-table"])
    with pytest.raises(SystemExit) as stop:
        errors.run(report.main)
    assert stop.value.code == 2
    assert capsys.readouterr().err == (
        "error: experiments/results: no results; run `make sweep SWEEP=NAME` first\n"
    )
    assert not (tmp_path / "results").exists()

"""The report's page, checked by axe-core at desktop and phone width and in dark colours."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from experiments.report import __main__ as report
from tests.support import report_fakes
from tests.support.browser import opened

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def small_page(tmp_path_factory):
    """A page of two losses at two strengths."""
    folder = tmp_path_factory.mktemp("small")
    rows = {
        f"{loss}-b{beta:g}-s1": report_fakes.row(loss, beta, 1, kl=1 / beta, reward=0.2 / beta)
        for loss in ("sigmoid", "fkl")
        for beta in (0.5, 1)
    }
    report_fakes.write(folder / "experiments/results", report_fakes.sweep("small", rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("sys.argv", ["report"])
        report.main()
    with opened(folder / "results/report/index.html") as found:
        found.page.evaluate(
            "for (const fold of document.querySelectorAll('details')) fold.open = true"
        )
        yield found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 390])
def test_it_can_be_read_by_everybody(small_page, width, scheme):
    """axe-core finds nothing serious: contrast, names, order, structure."""
    page = small_page.page
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    violations = Axe().run(page).response["violations"]
    serious = [
        (violation["id"], [node["target"] for node in violation["nodes"]][:3])
        for violation in violations
        if violation["impact"] in ("serious", "critical")
    ]
    assert serious == []

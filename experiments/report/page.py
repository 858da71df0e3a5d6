"""The report as one HTML page that needs no network."""

from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from experiments.report.contents import Contents
from experiments.report.tables import ReportTable
from experiments.vega_script import vega_script
from fdpo.core.printable import printable
from fdpo.evaluation.metric_registry import OVERVIEW_METRICS


def page(sweeps: Sequence[Contents], local: ReportTable) -> str:
    """The page; all text is escaped, in HTML by Jinja and in the charts' JSON by `tojson`."""
    environment = Environment(
        loader=PackageLoader("experiments.report"),
        autoescape=True,
        finalize=_printable,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    vega = Markup(vega_script())  # noqa: S704
    return environment.get_template("page.html").render(
        sweeps=sweeps, local=local, glossary=OVERVIEW_METRICS, vega=vega
    )


def _printable(value: Any) -> Any:
    """Text without characters that are obeyed and not seen; scripts and markup as they are."""
    plain = isinstance(value, str) and not isinstance(value, Markup)
    return printable(value) if plain else value

"""Vega-Lite specifications in the report's type, their data beside them."""

from typing import Any

import altair as alt

Records = list[dict[str, Any]]
Spec = dict[str, Any]

GREY = "#767676"  # of what is not a loss: the reference, rules of no difference
CONFIG = {
    "font": "Helvetica Neue, Arial, DejaVu Sans, sans-serif",
    "background": "white",
    "view": {"stroke": "#d9d9d9"},
    "axis": {"gridColor": "#ececec", "labelFontSize": 11, "titleFontWeight": "normal"},
    "title": {"anchor": "start", "fontSize": 14, "subtitleColor": "#555555"},
}


class Data:
    """Records by name: Altair copies a chart's own data at every step, a name costs nothing."""

    def __init__(self):
        self._records: dict[str, Records] = {}

    def chart(self, records: Records) -> alt.Chart:
        """A chart of these records."""
        name = f"data{len(self._records)}"
        self._records[name] = records
        return alt.Chart(alt.NamedData(name=name))

    def spec(self, chart: alt.TopLevelMixin) -> Spec:
        """The chart, checked against Vega-Lite's schema, with the records that it names."""
        return chart.to_dict() | {"config": CONFIG, "datasets": self._records}

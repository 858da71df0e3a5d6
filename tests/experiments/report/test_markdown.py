"""Markdown that shows text as it is."""

import pytest

from experiments.report.markdown import escape, table
from experiments.report.tables import Cell, ReportTable


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a | b", r"a \| b"),
        ("two\n\nlines\r\nhere", "two lines here"),
        ("`code` *b* ~s~", r"\`code\` \*b\* \~s\~"),
        ("<script>x</script> & co", "&lt;script&gt;x&lt;/script&gt; &amp; co"),
        ("reward_difference _x_", r"reward_difference \_x\_"),
        ("[a](b) 0.1 [0.0, 0.2]", r"[a\](b) 0.1 [0.0, 0.2]"),
        ("# no heading", r"\# no heading"),
        ("back\\slash", "back\\\\slash"),
    ],
)
def test_text_is_no_markup(text, escaped):
    assert escape(text) == escaped


def test_a_table_has_a_line_per_row_and_a_cell_per_column():
    content = ReportTable(
        title="T",
        note="N",
        columns=["name", "value"],
        rows=[[Cell("a|b\nc"), Cell("0.1", "[0.0, 0.2]", 0.1)], [Cell("d"), Cell("–")]],
    )
    assert table(content).splitlines() == [
        "### T",
        "",
        "N",
        "",
        "| name   | value          |",
        "|--------|----------------|",
        r"| a\|b c | 0.1 [0.0, 0.2] |",
        "| d      | –              |",
    ]


def test_an_empty_table_says_so():
    assert table(ReportTable(title="T", note="", columns=["name"])) == "### T\n\nNone."

"""Letters that the locale does not have are shown escaped, and nothing that is written changes."""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.sample_prompt import as_typed
from fdpo.core import records
from fdpo.core.records import HeldoutSamples
from stages import paths
from tests.support import stage_runs
from tests.support.clone import ROOT
from tests.support.damage import param

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
STRICT = {"PYTHONIOENCODING": "ascii:strict"}
# One process for all: most of its time goes into imports.
EVERYTHING = """
import sys
from importlib import import_module
from fdpo.core import errors
from tests.support.stage_runs import STAGES

assert sys.getfilesystemencoding() == "ascii"
for stage in STAGES:
    errors.run(import_module(f"stages.{stage}").main)
for command in ("samples", "outcome"):
    errors.run(import_module(f"experiments.{command}").main)
sample = import_module("experiments.sample_prompt").main
errors.run(lambda: sample(["--samples=1", "--", sys.argv[1]]))
"""


@pytest.mark.slow
def test_everything_runs_where_the_locale_has_ascii_alone(tmp_path):
    made = stage_runs.new_workspace(tmp_path)
    param("studies.embedded.prepare.template", "Café: {words}")(made.folder)
    done = subprocess.run(
        [sys.executable, "-c", EVERYTHING, "Ein Größe 電"],
        cwd=made.folder,
        env=os.environ | made.environment | ASCII | STRICT | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    said = done.stdout.decode("ascii")
    assert "\nCaf\\xe9: " in said
    assert "\nEin Gr\\xf6\\xdfe \\u96fb\n" in said
    samples = records.read(made.folder / paths.SAMPLES, HeldoutSamples)
    assert all(row.prompt.startswith("Café: ") for row in samples)


def test_a_command_s_answer_is_read_as_utf_8():
    script = (
        "from experiments.sweep.commands import call; print(ascii(call('printf', r'\\303\\251')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=os.environ | ASCII,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "'\\xe9'\n", "")


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_an_argument_is_the_text_that_was_typed(text):
    assert as_typed(text) == text
    hidden = text.encode().decode("ascii", "surrogateescape")  # as under a locale of ASCII
    assert as_typed(hidden) == text


def test_an_argument_in_another_encoding_stays_what_it_is():
    assert as_typed("caf\udce9") == "caf\udce9"


def test_a_file_that_the_locale_cannot_name_is_said(tmp_path):
    script = "from fdpo.core.local_files import local_files; local_files('inputs/\\xe9.csv')"
    done = subprocess.run(
        [sys.executable, "-c", f"from fdpo.core import errors\n{script}"],
        cwd=tmp_path,
        env=os.environ | ASCII | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.splitlines()[-1].endswith(
        r"inputs/\xe9.csv: a name that Python cannot write under this locale; set PYTHONUTF8=1, or"
        " a UTF-8 locale such as LC_ALL=C.UTF-8"
    )

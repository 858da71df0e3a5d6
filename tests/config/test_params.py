"""params.yaml: every wrong value ends in one line that names it, before any output is touched."""

import contextlib
import copy
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.hydra import apply_overrides
from dvc.utils.serialize import load_yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fdpo.config.params import Params
from fdpo.config.yaml_files import read_yaml
from fdpo.core.errors import UserError
from fdpo.core.validation import among
from fdpo.losses import LOSSES
from fdpo.run.settings import load_params

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "params.yaml").read_text(encoding="utf-8")
GOOD = yaml.safe_load(TEXT)
STUDY = "studies.embedded"


def changed(key: str, value: Any) -> dict:
    """The project's own params with the value at a dotted key replaced; `...` removes it."""
    whole = copy.deepcopy(GOOD)
    *path, last = key.split(".")
    section = whole
    for part in path:
        section = section[part]
    if value is ...:
        del section[last]
    else:
        section[last] = value
    return whole


def load(folder: Path, content: dict | str | bytes) -> Params:
    path = folder / "params.yaml"
    if isinstance(content, dict):
        content = yaml.safe_dump(content)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return load_params(path)


def problem(folder: Path, content: dict | str | bytes) -> str:
    """The message that bad params end in, less the path that it begins with."""
    with pytest.raises(UserError) as caught:
        load(folder, content)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{folder / 'params.yaml'}: ")
    return message.removeprefix(f"{folder / 'params.yaml'}: ")


NAN, INFINITY = float("nan"), float("inf")


ONE_OF_THE_LOSSES = among(LOSSES)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("loss", "kto", f"loss = 'kto': {ONE_OF_THE_LOSSES}"),
        ("loss", None, f"loss = null: {ONE_OF_THE_LOSSES}"),
        ("study", "foo", "study = 'foo': no such study; choose one of embedded, imdb"),
        ("study", 3, "study = 3: must be text"),
        ("beta", 0, "beta = 0: must be greater than 0"),
        ("beta", -1, "beta = -1: must be greater than 0"),
        ("beta", NAN, "beta = nan: must be a finite number"),
        ("beta", INFINITY, "beta = inf: must be a finite number"),
        ("beta", "0.1", "beta = '0.1': must be a num"),
        ("beta", True, "beta = true: must be a num"),
        ("beta", None, "beta = null: must be a num"),
        ("beta", [0.1], "beta = [0.1]: must be a num"),
        ("beta", 2e6, "beta = 2000000.0: must be at most 1000000"),
        ("beta", 10**60, "000: must be at most 1000000"),
        ("alpha", 0, "alpha = 0: must be greater than 0"),
        ("alpha", 1, "alpha = 1: must be less than 1"),
        ("alpha", NAN, "alpha = nan: must be a finite number"),
        ("lr", 0, "lr = 0: must be greater than 0"),
        ("lr", -1, "lr = -1: must be greater than 0"),
        ("lr", "fast", "lr = 'fast': must be a number above 0 or auto"),
        ("lr", NAN, "lr = nan: must be a finite number"),
        ("seed", -1, "seed = -1: must be at least 0"),
        ("seed", 1.5, "seed = 1.5: must be a whole number"),
        ("seed", 2**32, "seed = 4294967296: must be less than 4294967296"),
        ("bta", 1, "bta: unknown key; remove it or correct its spelling"),
        ("beta", ..., "beta: missing; add it"),
        ("launch", "", "launch = '': must have at least 1 character"),
        ("launch", ["torchrun"], "launch = ['torchrun']: must be text"),
        ("studies", {}, "studies = {}: "),
        ("studies", [], "studies = []: "),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(tmp_path, key, value, message):
    assert message in problem(tmp_path, changed(key, value))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("split.test_size", 0, "split.test_size = 0: must be greater than 0"),
        ("split.test_size", 1.0, "split.test_size = 1.0: must be less than 1"),
        ("generate.heldout.samples", 1, "heldout.samples = 1: must be at least "),
        (
            "generate.baselines.plain_samples",
            3,
            "plain_samples = 3: must be at least generate.held",
        ),
        ("generate.baselines.temperatures", [0.5, 0.5], "0.5 occurs twice; name each value once"),
        ("generate.baselines.temperatures", [1.0], "temperatures[0] = 1.0: must be less than 1"),
        ("score.best_of", [2, 5], "score.best_of has 5, but a held-out prompt has 4 samples"),
        ("score.best_of", [1], "score.best_of[0] = 1: must be at least 2"),
        ("train.epochs", 2.0, "train.epochs = 2.0: must be a whole number"),
        ("train.group_by_prompt", 1, "train.group_by_prompt = 1: must be true or false"),
        ("train.lora.target_modules", [], "train.lora.target_modules = []: must have at "),
        ("train.lr_by_loss.default", 0, "lr_by_loss.default = 0: must be greater than 0"),
        ("train.lora", ..., "train.lora: missing; add it"),
        ("train.lr_by_loss", {"jsd": 1.0}, "needs the key default"),
        ("train.lr_by_loss.kto", 1.0, "train.lr_by_loss.kto: no such loss; must be 'default', "),
        ("prepare.source", "url", "source = 'url': must be "),
        ("prepare.template", "{words} ", "must end in {words}"),
        ("generate.train.strategy", "beam", "strategy = 'beam': must be "),
        ("split.size", 1, "split.size: unknown key; remove it or correct its spelling"),
        ("split", ..., "split: missing; add it"),
    ],
)
def test_so_is_one_of_a_study(tmp_path, key, value, message):
    told = problem(tmp_path, changed(f"{STUDY}.{key}", value))
    assert message in told
    assert told.startswith(STUDY)


@pytest.mark.parametrize(
    ("ranks", "message"),
    [
        (
            [[1, 7]],
            "pair.ranks has [1, 7], but generate.train.completions = 6; ranks go from 1 to 6",
        ),
        ([[4, 1]], "ranks [4, 1] must be [better, worse] with better < worse"),
        ([[2, 2]], "ranks [2, 2] must be [better, worse] with better < worse"),
        ([[1, 2], [1, 2]], "ranks [1, 2]: there twice, which would count its pairs twice"),
        ([[1]], "pair.ranks[0] = [1]: must have at least 2 items"),
        ([[1, 2, 3]], "pair.ranks[0] = [1, 2, 3]: must have at most 2 items"),
        ([[0, 1]], "pair.ranks[0][0] = 0: must be at least 1"),
        ([[1, 2.0]], "pair.ranks[0][1] = 2.0: must be a whole number"),
        ([], "pair.ranks = []: must have at least 1 item"),
    ],
)
def test_ranks_exist_and_are_in_order(tmp_path, ranks, message):
    told = problem(tmp_path, changed(f"{STUDY}.pair.ranks", ranks))
    assert message in told
    assert told.startswith(STUDY)


def test_curves_have_a_point_where_the_number_of_pairs_is_known(tmp_path):
    """`split` knows it of given pairs; dvc.yaml runs it when a setting that it refuses changes."""
    section = GOOD["studies"]["embedded"]
    pairs = section["prepare"]["train_prompts"] * len(section["pair"]["ranks"])
    steps = -(-pairs // section["train"]["pairs_per_step"]) * section["train"]["epochs"]
    load(tmp_path, changed(f"{STUDY}.train.log_every", steps))
    assert problem(tmp_path, changed(f"{STUDY}.train.log_every", steps + 1)).startswith(
        f"{STUDY}: train.log_every = {steps + 1}: the run has at most {steps} steps ({pairs} pairs,"
    )
    load(tmp_path, changed("studies.imdb-published.train.log_every", 10**6))
    pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    for key in ("epochs", "log_every", "pairs_per_step"):
        assert f"studies.${{study}}.train.{key}" in pipeline["split"]["params"]


def test_a_misspelled_key_is_named_before_the_one_it_stands_for(tmp_path):
    with pytest.raises(UserError) as caught:
        load(tmp_path, changed(f"{STUDY}.split", {"test_sze": 0.2}))
    path = tmp_path / "params.yaml"
    assert caught.value.lines == [
        f"{path}: {STUDY}.split.test_sze: unknown key; remove it or correct its spelling",
        f"{path}: {STUDY}.split.test_size: missing; add it",
    ]


def test_a_key_that_occurs_twice_is_refused(tmp_path):
    path = tmp_path / "params.yaml"
    with pytest.raises(UserError) as caught:
        load(tmp_path, TEXT + "\nbeta: 1\n")
    line = TEXT.count("\n") + 2
    assert str(caught.value) == f"{path}:{line}: key 'beta' occurs twice; remove one of them"


def test_a_long_value_is_cut(tmp_path):
    assert len(problem(tmp_path, changed("loss", "x" * 10_000))) < 250


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [", "not YAML: "),
        ("a:\n\t- b", "not YAML: "),
        ("%", "not YAML: "),
        (b"\xff\xfe\x00", "not YAML: "),
        ("beta: " + "1" * 5000, "not YAML: "),
        ("a: !!python/object/apply:os.getcwd []", "not YAML: "),
        ("a: &a [*b]", "not YAML: "),
        ("!!set [a]", "not YAML: "),
        ('a: !!int ""', "not YAML: "),
        ("a: !!bool x", "not YAML: "),
        ("a: !!timestamp x", "not YAML: "),
        ("[" * 100_000, "not YAML: "),
        ('a: "\\ud800"', "not YAML: "),
        ("a: &x 1\nb: &x 2\nc: *x\n", "not YAML: "),
        ("a: 1\n---\na: 2\n", "not YAML: expected a single document"),
        ("a: 1\n\ufeffb: 2\n", "not YAML: "),
        ("a: 1 # b\x85c: 2\n", "not YAML: "),
        ("a: b\0c", "not YAML: "),
        ("a: é".encode("latin-1"), "not YAML: "),
        ("%YAML 1.1\n---\na: yes\n", "'%YAML 1.1': DVC reads YAML 1.2; remove that line"),
        ("# of old\n%YAML 1.1 # as\n---\na: yes\n", "'%YAML 1.1 # as': DVC reads YAML 1.2; remove"),
        ("\ufeff%YAML 1.3\n---\na: 1\n", "'%YAML 1.3': DVC reads YAML 1.2; remove that line"),
        ("%YAML 1.20\n---\na: 1\n", "'%YAML 1.20': DVC reads YAML 1.2; remove that line"),
        ("", "must be a map of keys"),
        ("# nothing\n", "must be a map of keys"),
        ("- beta\n- 1\n", "must be a map of keys"),
        ("0.1", "must be a map of keys"),
    ],
)
def test_what_is_no_map_of_params_is_refused(tmp_path, content, message):
    assert message in problem(tmp_path, content)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"params.yaml: missing; run from the folder that holds it"):
        load_params(tmp_path / "params.yaml")


def test_the_project_s_own_params_are_good(tmp_path):
    own = load(tmp_path, TEXT)
    assert (own.study, own.loss, own.beta, own.alpha) == ("embedded", "sigmoid", 0.1, 0.5)
    assert own.active is own.studies["embedded"]
    assert own.effective_lr == GOOD["studies"]["embedded"]["train"]["lr_by_loss"]["default"]


def test_a_quoted_number_is_none(tmp_path):
    assert "lr = '1e-5': " in problem(tmp_path, TEXT.replace("lr: auto", "lr: '1e-5'", 1))


@pytest.mark.parametrize("written", ["1e-05", "1e-5", "1E-5", "0.00001", "+1e-05", "1.0e-5"])
def test_numbers_as_dvc_and_people_write_them_are_numbers(tmp_path, written):
    own = load(tmp_path, TEXT.replace("lr: auto", f"lr: {written}", 1))
    assert own.lr == own.effective_lr == 1e-5


def test_a_whole_number_serves_where_a_number_is_wanted(tmp_path):
    beta = load(tmp_path, changed("beta", 1)).beta
    assert beta == 1
    assert isinstance(beta, float)


@pytest.mark.parametrize(("loss", "rate"), [("sigmoid", 0.1), ("hinge", 0.2), ("jsd", 0.1)])
def test_lr_auto_is_the_study_s_for_the_loss_or_its_default(tmp_path, loss, rate):
    whole = changed("loss", loss)
    whole["studies"]["embedded"]["train"]["lr_by_loss"] = {"default": 0.1, "hinge": 0.2}
    assert load(tmp_path, whole).effective_lr == rate


def test_every_problem_is_named_at_once(tmp_path):
    content = TEXT.replace("loss: sigmoid", "loss: kto").replace("beta: 0.1", "beta: -1")
    content += "betta: 1\n"
    with pytest.raises(UserError) as caught:
        load(tmp_path, content)
    path = tmp_path / "params.yaml"
    assert caught.value.lines == [
        f"{path}: betta: unknown key; remove it or correct its spelling",
        f"{path}: loss = 'kto': {ONE_OF_THE_LOSSES}",
        f"{path}: beta = -1: must be greater than 0",
    ]


@pytest.mark.parametrize(
    "override",
    ["beta=0.3", "loss=fkl", "lr=1e-5", "study=imdb", "studies.imdb.generate.train.groups=8"],
)
def test_dvc_s_writer_changes_the_one_value_alone(tmp_path, override):
    """`dvc exp run -S` writes params.yaml with this function."""
    path = tmp_path / "params.yaml"
    path.write_text(TEXT, encoding="utf-8")
    apply_overrides(path, [override])
    before, after = TEXT.splitlines(), path.read_text(encoding="utf-8").splitlines()
    assert len(before) == len(after)
    assert sum(old != new for old, new in zip(before, after, strict=True)) == 1
    assert isinstance(load_params(path), Params)


@pytest.mark.parametrize("written", ["0.5", "1e-2", "010", "0o10", "1:30", "yes", "1_000", "0x10"])
def test_a_value_means_to_us_what_it_means_to_dvc(tmp_path, written):
    path = tmp_path / "values.yaml"
    path.write_text(f"value: {written}\n")
    assert repr(read_yaml(path)) == repr(load_yaml(path))


@pytest.mark.parametrize(
    "content",
    [
        "%YAML 1.2\n---\nvalue: yes\n",
        "%YAML 1.2 # as DVC\n---\nvalue: 010\n...\n",
        "\ufeffvalue: é\n",
        "base: &base {a: 1, b: 2}\nvalue:\n  <<: *base\n  b: 3\n",
        "a: &a {p: 1}\nb: &b {p: 2, q: 3}\nvalue:\n  <<: [*a, *b]\n",
        "value: !!float 1\nother: !!str 1\nset: !!set {x}\nbytes: !!binary aGk=\n",
        "value: !!omap [{x: 1}]\n",
        "value: 'a\x85b\u2028c'\r\nother: >\r\n  d\r\n  e\r\n",
        "1: 2\n~: 3\n? [a, b]\n: 4\n",
    ],
)
def test_so_does_a_whole_file(tmp_path, content):
    path = tmp_path / "values.yaml"
    path.write_bytes(content.encode())
    assert repr(read_yaml(path)) == repr(load_yaml(path))


def test_a_file_of_many_forms_means_the_same_after_dvc_s_writer(tmp_path):
    """`dvc exp run -S` reads the whole of it in another way, and writes it."""
    content = TEXT.replace("beta: 0.1", "beta: &b 0.1").replace("alpha: 0.5", "alpha: *b")
    path = tmp_path / "params.yaml"
    path.write_bytes(f"\ufeff%YAML 1.2\n---\n{content}...\n".encode())
    before = read_yaml(path)
    apply_overrides(path, ["seed=7"])
    assert read_yaml(path) == before | {"seed": 7}


def test_aliases_that_grow_without_bound_are_refused(tmp_path):
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
    )
    found = problem(tmp_path, bomb)
    assert found == "its aliases expand to more than 100000 values; write them out"


@pytest.mark.parametrize("name", ["smollm2-1.7b", "my study", "a/b", ""])
def test_a_study_s_name_is_one_that_dvc_can_read(tmp_path, name):
    whole = copy.deepcopy(GOOD)
    whole["studies"][name] = whole["studies"]["embedded"]
    assert "studies" in problem(tmp_path, whole)
    assert "must match" in problem(tmp_path, whole)


WRONG_FOR_A_STAGE = [
    ("loss", "kto", "loss = 'kto'"),
    ("beta", NAN, "beta = nan"),
    (f"{STUDY}.train.epochs", "two", f"{STUDY}.train.epochs = 'two'"),  # another stage's
    ("alfa", "a\nb", "alfa: unknown key"),
    (f"{STUDY}.generate.train.completions", 5, "ranks go from 1 to 5"),
]


@pytest.mark.parametrize(("key", "value", "named"), WRONG_FOR_A_STAGE)
def test_a_stage_ends_in_one_line_and_touches_nothing(tmp_path, key, value, named):
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(changed(key, value)))
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/train.jsonl").write_text("old")
    stage = subprocess.run(
        [sys.executable, "-m", "stages.split"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert stage.returncode == 2
    (line,) = stage.stderr.splitlines()
    assert line.startswith("error: params.yaml: ")
    assert named in line
    assert stage.stdout == ""
    assert (tmp_path / "data/train.jsonl").read_text() == "old"
    assert os.listdir(tmp_path / "data") == ["train.jsonl"]


SAME_FOLDER = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.mark.slow
@settings(SAME_FOLDER, max_examples=1500)
@given(content=st.binary(max_size=200) | st.text(max_size=200))
def test_anything_at_all_gives_params_or_one_line(tmp_path, content):
    only_params_or_a_user_error(tmp_path, content.encode() if isinstance(content, str) else content)


@pytest.mark.slow
@settings(SAME_FOLDER, max_examples=1500)
@given(text=st.text(alphabet="!&*?:-[]{}<>,'\"|%@`#=~ \n\tabintfloatset0123456789._", max_size=60))
def test_anything_like_yaml_gives_params_or_one_line(tmp_path, text):
    only_params_or_a_user_error(tmp_path, text.encode())


@pytest.mark.slow
@SAME_FOLDER
@given(key=st.sampled_from(sorted(GOOD)), value=VALUES)
def test_any_value_of_any_key_gives_params_or_one_line(tmp_path, key, value):
    only_params_or_a_user_error(tmp_path, yaml.safe_dump(changed(key, value)).encode())


@SAME_FOLDER
@given(start=st.integers(0, len(TEXT)), length=st.integers(0, 50), new=st.text(max_size=5))
def test_any_slip_of_the_hand_gives_params_or_one_line(tmp_path, start, length, new):
    only_params_or_a_user_error(tmp_path, (TEXT[:start] + new + TEXT[start + length :]).encode())


def only_params_or_a_user_error(folder: Path, content: bytes) -> None:
    (folder / "params.yaml").write_bytes(content)
    with contextlib.suppress(UserError):
        assert isinstance(load_params(folder / "params.yaml"), Params)


def test_a_number_too_long_to_write_out_is_refused_all_the_same(tmp_path):
    found = problem(tmp_path, TEXT.replace("beta: 0.1", "beta: 0x1" + "0" * 5000, 1))
    assert found.startswith("beta = a number of thousands of digits: ")

"""Scorers that are no models: how prepare fetches them, and what score makes of them."""

from fdpo.config.sources import PythonFunction
from fdpo.core import records
from fdpo.core.records import Generation
from fdpo.scoring.loading import load_judge, load_scorer
from stages import prepare, score

LENGTH = """\
def reward(prompts, completions):
    return [len(prompt + completion) for prompt, completion in zip(prompts, completions)]
"""


def generation(number: int, role: str) -> Generation:
    completion = {"ids": [2], "finished": False, "ref_logp": -1.0}
    texts = [" a" * n for n in range(1, 3)]
    return Generation(
        id=number,
        prompt="p" * number,
        role=role,
        prompt_ids=[1],
        completions=[{"text": text, **completion} for text in texts],
    )


def test_a_function_and_no_judge_are_fetched_and_score_what_is_asked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inputs").mkdir()
    (tmp_path / "inputs/length.py").write_text(LENGTH, encoding="utf-8")
    function = PythonFunction(python="inputs.length:reward")
    prepare.fetch_scorer(function, tmp_path / "models/reward")
    prepare.fetch_scorer(None, tmp_path / "models/judge")
    reward = load_scorer("models/reward")
    generations = [generation(1, "train"), generation(2, "heldout"), generation(3, "heldout")]

    assert load_judge("models/judge") is None
    plain = list(score.scored(generations, reward, load_judge("models/judge"), 2))
    judged = list(score.scored(generations, reward, load_judge("models/reward"), 2))

    lengths = [[3, 5], [4, 6], [5, 7]]
    assert [[c.reward for c in g.completions] for g in plain] == lengths
    assert [[c.judge for c in g.completions] for g in judged] == [[None, None], *lengths[1:]]
    assert not any("judge" in records.dump(scored) for scored in plain)

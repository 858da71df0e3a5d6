"""Publish a trained policy, and if wanted the pairs it learnt from, on the Hugging Face Hub."""

import json
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, HTTPError

from fdpo.core import files, records
from fdpo.core.errors import UserError
from fdpo.training.model_card import card

WEIGHTS = "adapter_model.safetensors"
SPLITS = ("train", "test")


def login() -> str:
    """The token of HF_TOKEN or `hf auth login`. Raises `UserError` where there is none."""
    token = get_token()
    if not token:
        raise UserError("publishing needs a login: run `hf auth login` or set HF_TOKEN")
    return token


def publish_policy(project: Path, repo: str, token: str, experiment: str | None = None) -> str:
    """Upload a trained policy with its model card to the model `repo`, making it if it is new.

    `project` holds models/policy and models/reference, and results/evaluate/metrics.json where the
    policy was evaluated. Card and config name the model that the adapter was trained on as others
    know it. Returns the address. Raises `UserError` when a file is missing or the Hub refuses.
    """
    policy = project / "models/policy"
    source = files.read_json(project / "models/reference/source.json")
    config = files.read_json(policy / "adapter_config.json")
    if not (policy / WEIGHTS).is_file():
        raise UserError(f"{policy / WEIGHTS}: missing; run `dvc repro` to train the policy")
    if "repo" in source:
        config |= {"base_model_name_or_path": source["repo"], "revision": source["commit"]}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        shutil.copyfile(policy / WEIGHTS, folder / WEIGHTS)
        files.write_json(folder / "adapter_config.json", config)
        text = _policy_card(project, source, experiment)
        (folder / "README.md").write_text(text, encoding="utf-8")
        return _upload(folder, repo, "model", token)


def _policy_card(project: Path, source: dict[str, str], experiment: str | None) -> str:
    objective = files.read_json(project / "models/policy/objective.json")
    facts = {"base model, " + key: value for key, value in source.items()}
    facts |= {"DVC experiment": experiment} if experiment else {}
    sections = [
        card(objective, base=source.get("repo")),
        _table(("origin", "value"), facts.items()),
    ]
    metrics = project / "results/evaluate/metrics.json"
    if metrics.exists():
        measured = (
            (name, f"{m['value']:.4g}", _interval(m))
            for name, m in files.read_json(metrics).items()
        )
        sections.append(_table(("metric on held-out prompts", "value", "95 % interval"), measured))
    return "\n".join(sections)


def _interval(metric: dict[str, float | None]) -> str:
    ends = metric["low"], metric["high"]
    return "" if None in ends else f"{ends[0]:.4g} to {ends[1]:.4g}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def publish_pairs(data: Path, tokenizer: Path, repo: str, token: str) -> str:
    """Upload data/train.jsonl and data/test.jsonl as text to the dataset `repo`.

    The columns are those that a study with given pairs reads, prompt, chosen and rejected, and the
    two rewards. `tokenizer` is the reference model's folder. Returns the dataset's address. Raises
    `UserError` as `publish_policy` does.
    """
    with tempfile.TemporaryDirectory() as scratch:
        for split in SPLITS:
            _write_as_text(data / f"{split}.jsonl", tokenizer, Path(scratch, f"{split}.jsonl"))
        Path(scratch, "README.md").write_text(_dataset_card(repo), encoding="utf-8")
        return _upload(Path(scratch), repo, "dataset", token)


def _write_as_text(pairs: Path, tokenizer: Path, target: Path) -> None:
    from fdpo.models.causal_lm import (
        load_tokenizer,  # not above: it takes seconds, and only pairs need it
    )

    decode = load_tokenizer(tokenizer).decode
    with open(target, "w", encoding="utf-8") as lines:
        for pair in records.read(pairs, records.Pair):
            row = {
                "prompt": decode(pair.prompt_ids, skip_special_tokens=True),
                "chosen": decode(pair.chosen_ids, skip_special_tokens=True),
                "rejected": decode(pair.rejected_ids, skip_special_tokens=True),
                "chosen_reward": pair.chosen_reward,
                "rejected_reward": pair.rejected_reward,
            }
            lines.write(json.dumps(row, ensure_ascii=False) + "\n")


def _dataset_card(repo: str) -> str:
    return (
        f"# {repo}\n\nPreference pairs: two completions of each `prompt`, `chosen` the preferred"
        " one, and the rewards that one reward model gave them.\n"
    )


def _upload(folder: Path, repo: str, repo_type: Literal["model", "dataset"], token: str) -> str:
    api = HfApi(token=token)
    try:
        address = api.create_repo(repo, repo_type=repo_type, exist_ok=True)
        api.upload_folder(repo_id=repo, repo_type=repo_type, folder_path=folder)
    except (HTTPError, OSError, RuntimeError, ValueError) as error:
        # Composed here, as the client's own messages quote requests.
        raise UserError(f"{repo_type} {repo}: not published: {_reason(error)}") from None
    return str(address)


def _reason(error: BaseException) -> str:
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        if status in (401, 403):
            return f"the Hub refused the login ({status}); use a token that may write to this name"
        return f"the Hub answered {status}; try again later"
    if error.__cause__ is not None:
        return _reason(error.__cause__)
    return f"{type(error).__name__}; check the network and the name, which is user/name"

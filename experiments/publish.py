"""Publish models/policy with its model card on the Hugging Face Hub, and if wanted its pairs.

python -m experiments.publish USER/NAME
python -m experiments.publish USER/NAME --pairs     # also a data set, USER/NAME-pairs
"""

import argparse
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, Literal

from huggingface_hub import HfApi, ModelCard, get_token, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HTTPError

from experiments.metrics_io import read_metrics
from experiments.programs import call
from fdpo.core import errors, files, records
from fdpo.core.errors import UserError
from fdpo.core.origin import ORIGIN_FILE, public_base, read_origin
from fdpo.sources.model_files import TOKENIZER_FILES
from fdpo.training.model_card import model_card
from stages import paths

WEIGHTS, WHOLE_MODEL = "adapter_model.safetensors", "model.safetensors"


def main(arguments: list[str] | None = None) -> None:
    """Publish what the command line names."""
    parser = argparse.ArgumentParser(
        prog="experiments.publish", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("repo", help="where on the Hub, as user/name")
    parser.add_argument("--pairs", action="store_true", help="also the pairs, as user/name-pairs")
    options = parser.parse_args(arguments)
    token = get_token()
    if not token:
        raise UserError("publishing needs a login: run `hf auth login` or set HF_TOKEN")
    pairs = f"{options.repo}-pairs" if options.pairs else None
    print(publish_policy(options.repo, token, pairs))
    if pairs:
        print(publish_pairs(pairs, token))


def publish_policy(repo: str, token: str, pairs: str | None = None) -> str:
    """Upload the trained policy with its tokenizer and model card to the model `repo`.

    It is made if it is new. Card and config name the model that an adapter was trained on as others
    know it; the card also names `pairs`, the data set that the pairs are published as.

    Returns:
        The address of the model.

    Raises:
        UserError: a file is missing, an adapter's model is one that nobody else has, or the Hub
            refuses.
    """
    weights = WHOLE_MODEL if (paths.POLICY / WHOLE_MODEL).is_file() else WEIGHTS
    if not (paths.POLICY / weights).is_file():
        raise UserError(f"{paths.POLICY / WEIGHTS}: missing; run `dvc repro` to train the policy")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        shutil.copyfile(paths.POLICY / weights, folder / weights)
        if weights == WEIGHTS:
            files.write_json(folder / "adapter_config.json", public_adapter_config(repo))
        else:
            for name in ("config.json", "generation_config.json"):
                shutil.copyfile(paths.POLICY / name, folder / name)
        for name in TOKENIZER_FILES:
            if (paths.REFERENCE_MODEL / name).is_file():
                shutil.copyfile(paths.REFERENCE_MODEL / name, folder / name)
        (folder / "README.md").write_text(str(policy_card(repo, pairs)), encoding="utf-8")
        return upload(folder, repo, "model", token)


def public_adapter_config(repo: str) -> dict[str, Any]:
    """The adapter's config, with its base as others find it.

    Raises `UserError` where that is a local folder, or a model that an adapter was merged into.
    """
    config = files.read_json_object(paths.POLICY / "adapter_config.json")
    origin = files.read_json_object(paths.REFERENCE_MODEL / ORIGIN_FILE)
    base = public_base(origin)
    if base is None and "weights" in origin:
        made_of = origin.get("folder") or f"{origin['repo']} with an adapter merged in"
        raise UserError(
            f"{paths.POLICY}: an adapter of {made_of}, which nobody else can load; merge it into a"
            f" whole model with `make export`, then run `hf upload {repo} models/export`"
        )
    if base is not None:
        config |= {"base_model_name_or_path": base, "revision": origin["commit"]}
    return config


def policy_card(repo: str, pairs: str | None = None) -> ModelCard:
    """The policy's card under its new name, with the DVC experiment and the metrics."""
    terms = base_terms()
    if "license" not in terms:
        print("publish: the card names no license; add the base model's to its metadata")
    if datasets := [*source_datasets(), *([pairs] if pairs else [])]:
        terms["datasets"] = datasets
    experiment = os.environ.get("DVC_EXP_NAME") or applied_experiment()
    training = files.read_json_object(paths.POLICY / "objective.json")
    measured = paths.OBJECTIVE_OF_RESULTS
    evaluated = measured.exists() and files.read_json_object(measured) == training
    return model_card(
        training,
        paths.REFERENCE_MODEL,
        policy=repo,
        tokenizer=repo,
        metrics=read_metrics() if evaluated else None,
        facts={"DVC experiment": experiment} if experiment else None,
        terms=terms,
    )


def base_terms() -> dict[str, Any]:
    """License and language of the base model, as its own card has them at the commit used.

    Empty where the base is on nobody's Hub, or its card cannot be read.
    """
    origin = read_origin(paths.REFERENCE_MODEL)
    base = public_base(origin)
    if base is None:
        return {}
    try:
        card = hf_hub_download(base, "README.md", revision=origin["commit"])
        metadata = ModelCard.load(card).data.to_dict()
    except (HTTPError, OSError, ValueError):  # no card, no network, or metadata that is no YAML
        return {}
    names = ("license", "license_name", "license_link", "language")
    return {name: metadata[name] for name in names if metadata.get(name)}


def source_datasets() -> list[str]:
    """The data sets of the Hub that prompts and pairs were read from."""
    if not paths.TEXT_SOURCES.exists():
        return []
    sources = files.read_json_object(paths.TEXT_SOURCES).values()
    return sorted({source["repo"] for source in sources if source.get("repo")})


def applied_experiment() -> str | None:
    """The name of the DVC experiment that the workspace holds: the one with the same dvc.lock."""
    lock = call("git", "hash-object", "dvc.lock", check=False)
    refs = call("git", "for-each-ref", "--format=%(refname)", "refs/exps/??/*/*", check=False)
    for ref in refs.split():
        if lock and call("git", "rev-parse", "--quiet", f"{ref}:dvc.lock", check=False) == lock:
            return ref.rsplit("/", 1)[1]
    return None


def publish_pairs(repo: str, token: str) -> str:
    """Upload the pairs of training and test as text to the data set `repo`.

    The columns are those that a study with given pairs reads, prompt, chosen and rejected, and the
    two rewards. Returns the data set's address. Raises `UserError` as `publish_policy` does.
    """
    with tempfile.TemporaryDirectory() as scratch:
        for pairs in (paths.TRAIN_PAIRS, paths.TEST_PAIRS):
            write_as_text(pairs, Path(scratch, pairs.name))
        Path(scratch, "README.md").write_text(dataset_card(repo), encoding="utf-8")
        return upload(Path(scratch), repo, "dataset", token)


def write_as_text(pairs: Path, target: Path) -> None:
    """Write a file of pairs as JSON Lines of text, decoded without special tokens."""
    from fdpo.models.causal_lm import load_tokenizer  # takes seconds, and only pairs need it
    from fdpo.models.text_tokens import completion_text, prompt_text

    tokenizer = load_tokenizer(paths.REFERENCE_MODEL)
    with open(target, "w", encoding="utf-8") as lines:
        for pair in records.read(pairs, records.Pair):
            row = {
                "prompt": prompt_text(tokenizer, pair.prompt_ids),
                "chosen": completion_text(tokenizer, pair.prompt_ids, pair.chosen_ids),
                "rejected": completion_text(tokenizer, pair.prompt_ids, pair.rejected_ids),
                "chosen_reward": pair.chosen_reward,
                "rejected_reward": pair.rejected_reward,
            }
            lines.write(json.dumps(row, ensure_ascii=False) + "\n")


def dataset_card(repo: str) -> str:
    """The data set's README."""
    return (
        f"# {repo}\n\nPreference pairs: two completions of each `prompt`, `chosen` the preferred"
        " one, and the rewards that one reward model gave them.\n"
    )


def upload(folder: Path, repo: str, repo_type: Literal["model", "dataset"], token: str) -> str:
    """Upload all files of `folder`; return the repository's address."""
    api = HfApi(token=token)
    try:
        address = api.create_repo(repo, repo_type=repo_type, exist_ok=True)
        api.upload_folder(repo_id=repo, repo_type=repo_type, folder_path=folder)
    except (HTTPError, OSError, RuntimeError, ValueError) as error:
        # The client's own messages quote requests, so this one is ours.
        raise UserError(f"{repo_type} {repo}: not published: {refusal(error)}") from None
    return str(address)


def refusal(error: BaseException) -> str:
    """Why the Hub did not take an upload, and what to do."""
    if not isinstance(error, HfHubHTTPError):
        error = error.__cause__ or error
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    if status in (401, 403):
        return f"the Hub refused the login ({status}); use a token that may write to this name"
    if status:
        return f"the Hub answered {status}; try again later"
    return f"{type(error).__name__}; check the network and the name, which is user/name"


if __name__ == "__main__":
    errors.run(main)

"""Files of Hugging Face Hub repositories: one commit, checked, in a folder of their own.

Downloads go through the user's own Hub cache. Nothing that a stage writes depends on what that
cache held: a commit names the content, and every file handed on is compared with the hash that the
Hub lists for it at that commit. In return a change of seed, or a download that broke off, does not
fetch two gigabytes again.
"""

import glob
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HFValidationError, HTTPError

from fdpo.core.errors import UserError
from fdpo.core.files import replacing, write_json
from fdpo.core.origin import ORIGIN_FILE, Origin
from fdpo.core.weights import short_message
from fdpo.sources.model_files import MODEL, WeightFiles, gather

RepoType = Literal["model", "dataset"]


def fetch_model(
    repo: str, revision: str, destination: str | Path, kind: WeightFiles = MODEL
) -> Origin:
    """Put a model, or a LoRA adapter, into the folder `destination`, replacing it.

    Beside config and tokenizer it has one file of safetensors. Shards are joined, which takes as
    much memory as the model; a repository that has only pickled weights has them loaded as plain
    tensors and saved. Raises `UserError` for a repository that is gated, missing, out of reach or
    without weights, a file that is not what the Hub lists, and a pickle that holds more than
    tensors; `destination` is then left as it was.
    """
    commit, names = _commit_and_names(repo, revision, "model")
    with replacing(destination) as scratch:

        def fetch(wanted: list[str]) -> None:
            _download(repo, revision, "model", commit, wanted, scratch)

        weights = gather(names, fetch, scratch, kind, f"model {repo} at revision {revision}")
        source = Origin(repo, revision, commit, weights)
        write_json(scratch / ORIGIN_FILE, asdict(source))
    return source


def fetch_dataset(repo: str, revision: str, destination: str | Path) -> Origin:
    """Put all files of a dataset into the folder `destination`, replacing it.

    Raises `UserError` as `fetch_model` does.
    """
    commit, names = _commit_and_names(repo, revision, "dataset")
    with replacing(destination) as scratch:
        _download(repo, revision, "dataset", commit, names, scratch)
    return Origin(repo, revision, commit)


def _commit_and_names(repo: str, revision: str, repo_type: RepoType) -> tuple[str, list[str]]:
    with _explained(repo, revision, repo_type):
        info: Any = HfApi().repo_info(repo, revision=revision, repo_type=repo_type)
    return info.sha, [sibling.rfilename for sibling in info.siblings]


def _download(
    repo: str, revision: str, repo_type: RepoType, commit: str, names: list[str], folder: Path
) -> None:
    """Copy these files of one commit to `folder` and compare them with the hashes of the Hub."""
    with _explained(repo, revision, repo_type):
        cached = Path(
            snapshot_download(
                repo,
                repo_type=repo_type,
                revision=commit,
                allow_patterns=[glob.escape(name) for name in names],
            )
        )
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(cached / name, folder / name)
    with _explained(repo, revision, repo_type):
        check = HfApi().verify_repo_checksums(
            repo, repo_type=repo_type, revision=commit, local_dir=folder
        )
    for wrong in check.mismatches:
        (cached / wrong["path"]).resolve().unlink()
        (cached / wrong["path"]).unlink(missing_ok=True)
    if check.mismatches:
        wrong = check.mismatches[0]
        raise UserError(
            f"{repo_type} {repo} at revision {revision}: {wrong['path']} has"
            f" {wrong['algorithm']} {wrong['actual']}, not {wrong['expected']} as listed; it was"
            " removed, so try again; if it recurs, pin another revision or use study=embedded"
        )


@contextmanager
def _explained(repo: str, revision: str, repo_type: RepoType) -> Iterator[None]:
    """Turn what the Hub's client raises into one line, in its own words."""
    try:
        yield
    except (HTTPError, HFValidationError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # this machine's own, such as a full disk
        where = f"{repo_type} {repo} at revision {revision}"
        problem = f"{type(error).__name__}: {short_message(error)}"
        # The Hub answers 401 to a wrong name too.
        response = getattr(error, "response", None) or getattr(error.__cause__, "response", None)
        if response is not None and response.status_code in (401, 403, 404):
            problem = f"check name and revision, its terms, and `hf auth login` ({problem})"
        raise UserError(f"{where}: {problem}") from None

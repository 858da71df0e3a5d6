"""Files of Hugging Face Hub repositories: one commit, checked, in a folder of their own.

Downloads go through the Hub's usual cache. Nothing that a stage writes depends on what that
cache held: every file handed on is compared with the hash that the Hub lists for it at the commit.
In return a change of seed, or a download that broke off, does not fetch two gigabytes again.
"""

import glob
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HFValidationError, HTTPError

from fdpo.core.errors import UserError
from fdpo.core.files import replacing, write_json
from fdpo.core.origin import ORIGIN_FILE, Origin
from fdpo.core.weights import short_message
from fdpo.sources.model_files import MODEL, gather


def fetch_model(
    repo: str, revision: str, destination: str | Path, kind: tuple[str, str] = MODEL
) -> Origin:
    """Put a model, or a LoRA adapter, into the folder `destination`, replacing it.

    Beside config and tokenizer it has one file of safetensors; see `gather`. Raises `UserError` for
    a repository that is gated, missing, out of reach or without weights, a file that is not what
    the Hub lists, and a pickle that holds more than tensors; `destination` is then as it was.
    """
    with replacing(destination) as scratch:
        source = _Commit(repo, revision, "model", scratch)
        weights = gather(source.names, source.download, scratch, kind, source.where)
        origin = source.origin | {"weights": weights}
        write_json(scratch / ORIGIN_FILE, origin)
    return origin


def fetch_dataset(repo: str, revision: str, destination: str | Path) -> Origin:
    """Put all files of a dataset into the folder `destination`, replacing it.

    Raises `UserError` as `fetch_model` does.
    """
    with replacing(destination) as scratch:
        source = _Commit(repo, revision, "dataset", scratch)
        source.download(source.names)
    return source.origin


class _Commit:
    """A repository's files at the commit of a revision, to be put into `folder`."""

    def __init__(
        self, repo: str, revision: str, repo_type: Literal["model", "dataset"], folder: Path
    ) -> None:
        self.folder, self.where = folder, f"{repo_type} {repo} at revision {revision}"
        with _explained(self.where):
            info: Any = HfApi().repo_info(repo, revision=revision, repo_type=repo_type)
        self.names: list[str] = [sibling.rfilename for sibling in info.siblings]
        self.origin = {"repo": repo, "revision": revision, "commit": info.sha}
        self._commit: Any = {"repo_id": repo, "repo_type": repo_type, "revision": info.sha}

    def download(self, names: list[str]) -> None:
        """Copy these files to the folder and compare them with the hashes of the Hub."""
        with _explained(self.where):
            patterns = [glob.escape(name) for name in names]
            cached = Path(snapshot_download(allow_patterns=patterns, **self._commit))
        for name in names:
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(cached / name, self.folder / name)
        with _explained(self.where):
            check = HfApi().verify_repo_checksums(local_dir=self.folder, **self._commit)
        for wrong in check.mismatches:
            (cached / wrong["path"]).resolve().unlink()
            (cached / wrong["path"]).unlink(missing_ok=True)
        for wrong in check.mismatches:
            raise UserError(
                f"{self.where}: {wrong['path']} has {wrong['algorithm']} {wrong['actual']}, not"
                f" {wrong['expected']} as listed; it was removed, so try again, or pin another"
            )


@contextmanager
def _explained(where: str) -> Iterator[None]:
    """Turn what the Hub's client raises into one line, in its own words."""
    try:
        yield
    except (HTTPError, HFValidationError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # this machine's own, such as a full disk
        problem = f"{type(error).__name__}: {short_message(error)}"
        # The Hub answers 401 to a wrong name too.
        response = getattr(error, "response", None) or getattr(error.__cause__, "response", None)
        if response is not None and response.status_code in (401, 403, 404):
            problem = f"check name and revision, its terms, and `hf auth login` ({problem})"
        raise UserError(f"{where}: {problem}") from None

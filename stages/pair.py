"""Rank each training prompt's completions by reward, pair and label them; or keep pairs given."""

from collections.abc import Iterator

from fdpo.config.params import load_params
from fdpo.core import errors, records
from fdpo.core.randomness import streams_of
from fdpo.core.records import Pair, ScoredGeneration
from fdpo.pairing import Labels, labelled, pairs_of
from fdpo.run import stage
from stages import paths


def main() -> None:
    """Pair the ranked completions of each prompt."""
    params = load_params()
    settings = params.active.pair
    labels = Labels(settings.temperature, settings.flip_rate)
    streams = streams_of(params.seed)
    ties = prompts = 0

    def pairs() -> Iterator[Pair]:
        nonlocal ties, prompts
        for generation in records.read_prompt_unique(paths.SCORES, ScoredGeneration):
            if generation.role == "heldout":
                continue
            prompts += 1
            made = pairs_of(generation, settings.ranks, keep_ties=settings.temperature is not None)
            for pair in labelled(made, generation.id, labels, streams) if labels.drawn else made:
                if pair is None:
                    ties += 1
                else:
                    yield pair
        if not prompts:
            raise errors.UserError(
                f"{paths.SCORES}: no training prompt; raise prepare.train_prompts"
            )

    count = records.write(paths.PAIRS, at_least_one(pairs()))
    equal = "tokens" if settings.ranks == "given" or settings.temperature else "rewards or tokens"
    if params.active.prepare.source == "completions":
        equal += ", or a rank beyond the completions"
    print(f"pair: {count} pairs of {prompts} prompts; {ties} left out for equal {equal}")


def at_least_one(pairs: Iterator[Pair]) -> Iterator[Pair]:
    """Pass pairs on. Raises `UserError` when there are none, before anything is written."""
    pair = None
    for pair in pairs:
        yield pair
    if pair is None:
        raise errors.UserError(
            f"{paths.SCORES}: there is no pair: at the ranks of pair.ranks no two completions of a"
            " training prompt differ in reward"
        )


if __name__ == "__main__":
    stage.run("pair", main)

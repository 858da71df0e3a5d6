"""Ours in benchmarks/decoding.py: the whole workload as one batch."""

from benchmarks.decoding_peer import EOS, GROUPS, NGRAM, PENALTY, build_model, measure
from fdpo.decoding.diverse_beams import BeamSettings, diverse_beam_search


def main() -> None:
    model = build_model()

    def decode(prompts: list[list[int]], new_tokens: int) -> list[list[int]]:
        config = BeamSettings(GROUPS, PENALTY, NGRAM, new_tokens, bias={}, banned=())
        found = diverse_beam_search(model, prompts, config, end_ids=[EOS], pad_id=EOS)
        return [decoded.ids for completions in found for decoded in completions]

    measure(decode)


if __name__ == "__main__":
    main()

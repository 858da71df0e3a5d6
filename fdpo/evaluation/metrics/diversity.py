"""How varied the samples are: four measures of token ids and texts, and one of embeddings.

None of them knows a special token. The caller hands over the tokens to be measured: a
completion's ids without prompt, without padding and without what follows end-of-text.
"""

from collections.abc import Sequence

import numpy as np
import regex
from sacrebleu.metrics import BLEU
from scipy.special import entr

from fdpo.baselines.distinct import ngrams

# A sentence of a script without spaces between words would be one token of BLEU's tokenizer.
UNSPACED = regex.compile(
    r"[\p{scx=Han}\p{scx=Hiragana}\p{scx=Katakana}\p{scx=Thai}\p{scx=Lao}\p{scx=Khmer}"
    r"\p{scx=Myanmar}--\p{ASCII}]",
    regex.V1,
)


def unigram_entropy(token_ids_per_text: Sequence[Sequence[int]]) -> float:
    """Entropy in nats of the unigram distribution of all texts together: -sum_w p(w) log p(w).

    p(w) is token w's share of all tokens, so longer texts weigh more. The plug-in estimate: it
    grows with the number of tokens, so compare it between samples of like size only. This is what
    the project calls entropy in its first results, where the ids are the reward model's, of prompt
    and completion with special tokens; the caller decides which tokens count.

    Raises ValueError when there is no token.
    """
    if sum(len(ids) for ids in token_ids_per_text) == 0:
        raise ValueError("no tokens: the entropy of nothing is not defined")
    _, counts = np.unique(np.concatenate(token_ids_per_text), return_counts=True)
    return float(entr(counts / counts.sum()).sum())


def repeated_ngram_share(ids: Sequence[int], n: int = 4) -> float:
    """Share of a completion's n-grams that occurred earlier in it: 0 to 1, 0 below n tokens.

    1 - distinct / all over the one completion (seq-rep-n of Welleck et al. 2019, arXiv 1908.04319):
    0 where nothing repeats, near 1 where the text loops.
    """
    found = list(ngrams(ids, n))
    return 1 - len(set(found)) / len(found) if found else 0.0


def self_bleu(texts: Sequence[str], max_order: int = 4) -> float:
    """Mean BLEU of each text against the others of the same prompt: 0 to 1, lower is more varied.

    Zhu et al. 2018 (arXiv 1802.01886), here within a prompt. texts: the completions alone, S >= 2;
    a prompt in them would be shared by all and raise the score. Sentence BLEU by sacrebleu with n
    up to `max_order`, effective order (a text shorter than `max_order` is judged by the n-grams it
    has), exponential smoothing, tokenizer 13a, case kept; a character of a script that leaves no
    spaces between words (Chinese, Japanese, Thai and others) is a token. It rises with S, so
    compare equal S only. An empty text scores 0: read it beside the mean length.

    Raises ValueError when there are fewer than two texts.
    """
    if len(texts) < 2:
        raise ValueError(f"{len(texts)} text: self-BLEU compares at least 2 of one prompt")
    bleu = BLEU(
        max_ngram_order=max_order, effective_order=True, smooth_method="exp", tokenize="13a"
    )
    texts = [UNSPACED.sub(r" \g<0> ", text) for text in texts]
    scores = []
    for index, text in enumerate(texts):
        others = [*texts[:index], *texts[index + 1 :]]
        scores.append(bleu.sentence_score(text, others).score / 100)
    return min(1.0, float(np.mean(scores)))  # equal texts score 1 + 4e-16 by sacrebleu's rounding


def good_distances(embeddings: np.ndarray, good: np.ndarray) -> np.ndarray:
    """Each prompt's mean cosine distance of two of its good samples: [P], 0 (equal) to 2.

    Diversity that noise alone can't raise: only samples that pass a bar of quality count, as in
    arXiv 2504.12522. NaN where a prompt has fewer than two.

    embeddings: [P, S, width], of unit norm; good: [P, S] bool.
    """
    distances = 1 - embeddings @ embeddings.swapaxes(1, 2)
    pairs = np.triu(good[:, :, None] & good[:, None, :], k=1)
    counts = pairs.sum(axis=(1, 2))
    sums = (distances * pairs).sum(axis=(1, 2))
    return np.divide(sums, counts, out=np.full(len(good), np.nan), where=counts > 0)

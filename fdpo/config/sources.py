"""Where a study's models and texts come from: the section `prepare` of its file."""

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import BaseModel, BeforeValidator, Discriminator, Field, Tag, model_validator

from fdpo.core.validation import Strict, Text

Count = Annotated[int, Field(ge=1, le=10_000_000)]
AtLeastTwo = Annotated[int, Field(ge=2)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
PackageWord = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")]  # for pip's input


def _plain(value: Any) -> Any:
    if not isinstance(value, str | int | float):
        raise ValueError("must be text, a number, true or false; put a date in quotes")
    return value


Value = Annotated[str | int | float | bool, BeforeValidator(_plain)]
End = Literal["given", "append"]  # whether an end-of-text is put behind texts that lack one


class Package(Strict):
    """A file of the Python Package Index, pinned by version and content."""

    name: PackageWord
    version: PackageWord
    sha256: Sha256

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"


class PackagesSource(Strict):
    """Model and text from Python packages."""

    given: ClassVar[bool] = False
    source: Literal["packages"]
    model: Package
    gguf: str
    judge: Package | None  # null: no judge
    snippets: Package
    template: Annotated[str, Field(pattern=r"^[^{]*\{words\}$")]
    words: Count
    train_prompts: Count
    heldout_prompts: AtLeastTwo


class Place(Strict):
    """Where files are: `repo` and `revision` of the Hub, or `path` within this repository."""

    repo: Text = ""
    revision: Text = ""  # a branch, a tag or a commit
    path: Text = ""  # `stages.check` records what is there

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        given = self.model_fields_set & Place.model_fields.keys()
        if given not in ({"repo", "revision"}, {"path"}):
            named = ", ".join(sorted(given)) or "none of them"
            raise ValueError(f"must have repo and revision, or path alone; it has {named}")
        return self


class Reference(Place):
    """A model's folder as `save_pretrained` writes it, and what becomes of its weights."""

    adapter: Place | None = None  # LoRA, to be merged into them
    dtype: Literal["float32", "bfloat16"] = "float32"  # they are sampled and trained in it


class ChatTemplate(Strict):
    """A chat template in a file of its own, in place of the tokenizer's."""

    path: Text


class ScorerSection(Strict):
    """Base of sections that name a reward model or a judge."""

    kind: ClassVar[str]  # of `fdpo.scoring.loading.KINDS`


class Classifier(Place, ScorerSection):
    """A classifier as scorer: what it reads, and what of its output is the score.

    The score is the logit of the class with the name or number `label`, which a model with one
    output does without. With `input: chat` prompt and completion are turns in the classifier's own
    chat template, else one text. It reads as many tokens as it was made for, or `max_length` where
    that is fewer; `too_long` says what happens to a text with more. With `end: append` the
    end-of-text follows a text, where its tokenizer puts nothing there, as TRL trains reward models.
    """

    kind: ClassVar[str] = "classifier"
    label: Annotated[int, Field(ge=0)] | Text | None = None
    too_long: Literal["refuse", "cut"]
    input: Literal["text", "chat"] = "text"
    max_length: Count | None = None
    end: End = "append"


class PythonFunction(ScorerSection):
    """A local Python function, `module:name`, that takes prompts and completions."""

    kind: ClassVar[str] = "python"
    python: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$")]

    @property
    def path(self) -> str:
        """The module's file, which `stages.check` records."""
        return self.python.partition(":")[0].replace(".", "/") + ".py"


# Each beside the key that only its section has; a section with none of them is a classifier's.
_Scorers = Annotated[Classifier, Tag("classifier")] | Annotated[PythonFunction, Tag("python")]
_SCORER_KEYS = [get_args(scorer)[1].tag for scorer in get_args(_Scorers)]


def _scorer_key(section: Any) -> str:
    keys = section if isinstance(section, dict) else type(section).model_fields
    return next((key for key in _SCORER_KEYS if key in keys), "classifier")


Scorer = Annotated[_Scorers, Discriminator(_scorer_key)]


class Models(Strict):
    """The models of a study, and how prompts are put into a chat template.

    With `chat: auto` each prompt becomes a user's turn in the template of the reference's
    tokenizer, behind `system` where there is one, and the assistant's turn is begun.
    """

    reference: Reference
    reward: Scorer
    judge: Scorer | None  # null: no judge
    chat: Literal["none", "auto"] | ChatTemplate = "none"
    system: Text | None = None

    @model_validator(mode="after")
    def _system_is_of_a_chat(self) -> Self:
        if self.system is not None and self.chat == "none":
            raise ValueError("system is a message of a chat: set chat to auto, or remove it")
        return self


class Data(Place):
    """Rows: a dataset of the Hub, or a file of records, which is the one split `train`.

    `config` names one of a dataset's configurations where it has several; with `sha256` no other
    content of the file will do. `where` keeps the rows that have these values. Columns, here and
    in what derives from this, may be paths, such as `info.post` or `messages.0.content`.
    """

    path: Annotated[str, Field(pattern=r"\.(jsonl|json|csv)(\.gz)?$|\.parquet$")] = ""
    config: Text | None = None
    sha256: Sha256 | None = None
    where: dict[Text, Value] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _keys_are_of_their_place(self) -> Self:
        key, other = ("config", "repo") if self.path else ("sha256", "path")
        if getattr(self, key) is not None:
            raise ValueError(f"{key} = {getattr(self, key)!r} goes with {other}; remove it")
        return self


class Cut(Strict):
    """Keeps the beginning of a text: so many words or characters, or all before a mark."""

    words: Count | None = None
    characters: Count | None = None
    before: Text | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if [self.words, self.characters, self.before].count(None) != 2:
            raise ValueError("must have one of the keys words, characters and before")
        return self


class Prompts(Data):
    """How a row becomes a prompt: `template` with the column's text, cut, in place of {text}."""

    split: Text = "train"
    column: Text = "prompt"
    cut: Cut | None = None
    template: Text = "{text}"

    @model_validator(mode="after")
    def _template_has_the_text(self) -> Self:
        if self.template.count("{text}") != 1:
            raise ValueError(f"template must hold {{text}} once, not {self.template!r}")
        return self


class Choice(Strict):
    """Which of two completions was preferred: the one named `chosen` where `column` is `value`."""

    column: Text
    value: Value


class PairColumns(Strict):
    """Which columns hold what.

    Without `prompt` it is what the other two begin with alike: their first messages, or the
    dialogue up to its last common "\\n\\nAssistant:". With `choice` the two are exchanged where
    that column has another value.
    """

    prompt: Text | None = "prompt"
    chosen: Text = "chosen"
    rejected: Text = "rejected"
    choice: Choice | None = None


class PairSplits(Strict):
    """The dataset's own names of its splits; `test` may be missing."""

    train: Text = "train"
    test: Text = "test"


class GivenRows(Data):
    """Rows that were chosen or sampled by others; one that is no such row is refused, or skipped.

    `end` is of completions that are text and no answers of a chat; TRL appends.
    """

    bad_rows: Literal["refuse", "skip"] = "refuse"
    end: End = "append"


class Pairs(GivenRows):
    """How a row becomes a pair."""

    splits: PairSplits = PairSplits()
    columns: PairColumns = PairColumns()


class CompletionColumns(Strict):
    """Which columns hold what: of one completion, or lists with an item for each.

    `score`, a number of which more is better, and `logprobs`, of the engine that sampled, in nats:
    a number for each token, or their sum.
    """

    prompt: Text = "prompt"
    completion: Text = "completion"
    score: Text | None = None
    logprobs: Text | None = None


class Completions(GivenRows):
    """How a row becomes a prompt with completions; rows of the same prompt are put together."""

    split: Text = "train"
    columns: CompletionColumns = CompletionColumns()


class PromptsSource(Models):
    """Models, and prompts that the reference is to complete."""

    given: ClassVar[bool] = False
    source: Literal["prompts"]
    prompts: Prompts
    train_prompts: Count
    heldout_prompts: AtLeastTwo


class GivenSource(Models):
    """Models, completions that exist already, and the prompts to evaluate on.

    Without `prompts`, `heldout_prompts` of those to train on are drawn, and what was given for
    them is left out.
    """

    given: ClassVar[bool] = True
    prompts: Prompts | None = None
    heldout_prompts: AtLeastTwo | None = None

    @model_validator(mode="after")
    def _held_out_prompts_are_named_or_drawn(self) -> Self:
        if (self.prompts is None) == (self.heldout_prompts is None):
            raise ValueError(
                "must have prompts, to evaluate on those, or heldout_prompts, the number to draw"
            )
        return self


class PairsSource(GivenSource):
    """Pairs that somebody else chose."""

    source: Literal["pairs"]
    pairs: Pairs


class CompletionsSource(GivenSource):
    """Completions that somebody else sampled, to be ranked by scores of theirs or the reward."""

    source: Literal["completions"]
    completions: Completions


class ExactSource(Strict):
    """A tiny random language model over a few letters, whose completions can all be listed."""

    given: ClassVar[bool] = False
    source: Literal["exact"]
    letters: Annotated[int, Field(ge=2, le=26)]
    prompt_letters: Annotated[int, Field(ge=1, le=16)]
    train_prompts: Count
    heldout_prompts: AtLeastTwo
    reward: PythonFunction


Source = Annotated[
    PackagesSource | PromptsSource | PairsSource | CompletionsSource | ExactSource,
    Field(discriminator="source"),
]


def local_files_of(section: BaseModel) -> Iterator[tuple[str, str | None]]:
    """The local files and folders at or below `section`; sha256 where one is set."""
    if path := getattr(section, "path", ""):
        yield path, getattr(section, "sha256", None)
    for _, value in section:
        if isinstance(value, BaseModel):
            yield from local_files_of(value)

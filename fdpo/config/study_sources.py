"""Where a study's models and texts come from: the section `prepare` of params.yaml."""

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from fdpo.core.validation import Strict, Text

Count = Annotated[int, Field(ge=1, le=10_000_000)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
PackageWord = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")]  # it stands in pip's input


class Package(Strict):
    """A file of the Python Package Index, pinned by version and content."""

    name: PackageWord
    version: PackageWord
    sha256: Sha256


class PackagesSource(Strict):
    """Model and text from Python packages."""

    source: Literal["packages"]
    model: Package
    gguf: str
    snippets: Package
    template: str
    words: Count
    train_prompts: Count
    heldout_prompts: Annotated[int, Field(ge=2)]

    @model_validator(mode="after")
    def _template_ends_in_words(self) -> Self:
        if not self.template.endswith("{words}") or self.template.count("{") != 1:
            raise ValueError(
                f"template must end in {{words}}, its only field, not {self.template!r}"
            )
        return self


class HubRepo(Strict):
    """A repository of the Hugging Face Hub; `revision` is a branch, a tag or a commit."""

    repo: Text
    revision: Text


class HubClassifier(HubRepo):
    """A text classifier as scorer: the logit of the class with the name or number `label`.

    `too_long` says what happens to a text of more tokens than the model reads.
    """

    label: Annotated[int, Field(ge=0)] | Text
    too_long: Literal["refuse", "cut"]


class HubModels(Strict):
    """The models of a study, and whether prompts are put into the reference's chat template.

    With `chat: auto` each prompt becomes a user's turn in the template of the reference's
    tokenizer, behind `system` where there is one, and the assistant's turn is begun.
    """

    reference: HubRepo
    reward: HubClassifier
    judge: HubClassifier
    chat: Literal["none", "auto"] = "none"
    system: Text | None = None

    @model_validator(mode="after")
    def _system_is_of_a_chat(self) -> Self:
        if self.system is not None and self.chat == "none":
            raise ValueError("system is a message of a chat: set chat to auto, or remove it")
        return self


class HubDataset(HubRepo):
    """A dataset of the Hub; `config` names one of its configurations where it has several."""

    config: Text | None = None


class LocalFile(Strict):
    """A file of records, pinned by content: DVC does not watch it. It is the one split `train`."""

    path: Annotated[str, Field(pattern=r"\.(jsonl|json|csv)(\.gz)?$|\.parquet$")]
    sha256: Sha256


class Cut(Strict):
    """Keeps the beginning of a text: so many words or characters, or all before a mark."""

    words: Count | None = None
    characters: Count | None = None
    before: Text | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        given = [value for value in (self.words, self.characters, self.before) if value is not None]
        if len(given) != 1:
            raise ValueError("must have one of the keys words, characters and before")
        return self


class PromptFormat(Strict):
    """How a row becomes a prompt.

    Columns may be paths, such as `info.post` or `messages.0.content`. `where` keeps the rows that
    have these values; a prompt is `template` with the text, cut, in place of {text}.
    """

    split: Text = "train"
    column: Text = "prompt"
    where: dict[Text, Text | int | float] = Field(default_factory=dict)
    cut: Cut | None = None
    template: Text = "{text}"

    @model_validator(mode="after")
    def _template_has_the_text(self) -> Self:
        if self.template.count("{text}") != 1:
            raise ValueError(f"template must hold {{text}} once, not {self.template!r}")
        return self


class HubPrompts(HubDataset, PromptFormat):
    """Prompts from a dataset of the Hub."""


class FilePrompts(LocalFile, PromptFormat):
    """Prompts from a local file."""


class Choice(Strict):
    """Which of two completions was preferred: the one named `chosen` where `column` is `value`."""

    column: Text
    value: Text | int | float


class PairColumns(Strict):
    """Which columns hold what; each may be a path, such as `summaries.0.text`.

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


class PairFormat(Strict):
    """How a row becomes a pair; a row that can't is refused, or left out and counted."""

    splits: PairSplits = PairSplits()
    columns: PairColumns = PairColumns()
    where: dict[Text, Text | int | float] = Field(default_factory=dict)
    bad_rows: Literal["refuse", "skip"] = "refuse"


class HubPairs(HubDataset, PairFormat):
    """Pairs from a dataset of the Hub."""


class FilePairs(LocalFile, PairFormat):
    """Pairs from a local file."""


def _hub_or_file(section: Any) -> str:
    has_path = "path" in section if isinstance(section, dict) else hasattr(section, "path")
    return "file" if has_path else "hub"


_HUB_OR_FILE = Discriminator(_hub_or_file)
Prompts = Annotated[
    Annotated[HubPrompts, Tag("hub")] | Annotated[FilePrompts, Tag("file")], _HUB_OR_FILE
]
Pairs = Annotated[Annotated[HubPairs, Tag("hub")] | Annotated[FilePairs, Tag("file")], _HUB_OR_FILE]


class PromptsSource(HubModels):
    """Models from the Hub, and prompts that the reference is to complete."""

    source: Literal["prompts"]
    prompts: Prompts
    train_prompts: Count
    heldout_prompts: Annotated[int, Field(ge=2)]


class PairsSource(HubModels):
    """Models from the Hub; pairs that somebody else chose, and the prompts to evaluate on.

    Without `prompts`, `heldout_prompts` of those in the split train are drawn, and their pairs are
    left out.
    """

    source: Literal["pairs"]
    pairs: Pairs
    prompts: Prompts | None = None
    heldout_prompts: Annotated[int, Field(ge=2)] | None = None

    @model_validator(mode="after")
    def _held_out_prompts_are_named_or_drawn(self) -> Self:
        if (self.prompts is None) == (self.heldout_prompts is None):
            raise ValueError(
                "must have prompts, to evaluate on those, or heldout_prompts, the number to draw"
            )
        return self

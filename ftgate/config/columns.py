"""The section ``columns`` of a measurement: which fields of a data file hold what a row needs."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import model_validator

from ftgate.config.strict import GrownSection

if TYPE_CHECKING:
    import jinja2


class Columns(GrownSection):
    """Which fields of the file's rows hold what a row needs.

    Each entry is the name of a field (`a.b` for one within another), or a Jinja2 template such as
    `"{{ passage }} {{ question }}"`, in which every field can be used. A field that is null is written as nothing; for
    one that some rows lack write `{{ row.get('passage') }}`.
    """

    later: ClassVar[frozenset[str]] = frozenset({"tools"})

    prompt: str | None = None
    """The question."""
    messages: str | None = None
    """Instead of `prompt`: a field with a conversation. If it ends with a reply, that is the reference."""
    choices: str | tuple[str, ...] | None = None
    """The options: a field with a list of them, or a field for each."""
    answer: str | None = None
    """The reference: a text, a place among `choices` counted from 0, or the name or letter of the right one."""
    tags: tuple[str, ...] = ()
    """Fields whose values become tags."""
    id: str | None = None
    """The id; without one, ids are made of the content."""
    cluster: str | None = None
    """The group of rows that are not independent."""
    check: str | None = None
    """A field with a check, as an object or as JSON."""
    tools: str | None = None
    """A field with the tools that the model may call, as JSON Schemas; without this entry, a field of that name."""

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("give either prompt or messages")
        for entry in self.entries():
            if is_template(entry):
                template(entry)
        return self

    def entries(self) -> list[str]:
        """Every entry."""
        several = [] if self.choices is None else [self.choices] if isinstance(self.choices, str) else [*self.choices]
        single = (self.prompt, self.messages, self.answer, self.id, self.cluster, self.check, self.tools)
        return [*(entry for entry in single if entry is not None), *several, *self.tags]


def is_template(entry: str) -> bool:
    """Whether an entry is a template rather than a name."""
    return "{{" in entry or "{%" in entry


@lru_cache(maxsize=256)
def template(text: str) -> jinja2.Template:
    """``text`` as a template that can only read its values (sandboxed). Raises ValueError if it is not valid."""
    import jinja2

    try:
        parsed: jinja2.Template = _sandbox().from_string(text)
    except jinja2.TemplateError as error:
        raise ValueError(f"{text[:80]!a} is not a valid template: {error}") from None
    return parsed


def template_names(text: str) -> set[str]:
    """The fields that a valid template uses."""
    from jinja2 import meta

    return meta.find_undeclared_variables(_sandbox().parse(text)) - {"row"}


@lru_cache(maxsize=1)
def _sandbox() -> Any:
    import jinja2
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    undefined = jinja2.StrictUndefined
    return ImmutableSandboxedEnvironment(
        undefined=undefined, autoescape=False, keep_trailing_newline=True, finalize=_written
    )


def _written(value: Any) -> Any:
    """A value as a template writes it: nothing for a field that is null."""
    return "" if value is None else value

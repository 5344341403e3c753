"""Staff's own wording of messages: templates that are data, and can neither run anything nor look into anything.

The language is `{{ name }}`, `{{ name | filter }}` and `{% if name %}...{% elif name %}...{% else %}...{% endif %}`,
written as Jinja2 writes them. Jinja2 only parses; nothing is compiled. What its syntax tree may hold is copied, node by
node, into texts, names and choices (anything else is refused), and those are put together here. So there is no call,
attribute, loop or import that a template could reach: nothing in this module can perform one.

    wording = parse_wording(
        "reminder", subject="See you on {{ date }}", body="Hello {{ name }},\n...", names={"name", "date"}
    )
    subject, body = wording.fill({"name": "Anna", "date": "Monday"})
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from jinja2 import Environment, TemplateSyntaxError, nodes

from tasks.errors import PermanentError
from tasks.services.render import money, percent

#: What a template's values are; None counts as empty.
Value = str | int | Decimal | date | datetime | None

#: Characters of a template, and of what comes out with its values in it.
SOURCE_LIMIT = 10_000
OUTPUT_LIMIT = 100_000
#: Choices inside each other; an `elif` counts as one inside the `if` before it.
DEPTH_LIMIT = 20


class WordingError(PermanentError):
    """A template cannot be used; the message names it, the line, and what is allowed."""


@dataclass(frozen=True, slots=True)
class _Text:
    text: str


@dataclass(frozen=True, slots=True)
class _Name:
    name: str
    filters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Choice:
    """The parts that are taken where the name has a value, and those where it has none."""

    name: str
    then: tuple[_Part, ...]
    otherwise: tuple[_Part, ...]


_Part = _Text | _Name | _Choice


@dataclass(frozen=True, slots=True)
class Wording:
    """A template that was found good."""

    name: str
    subject: tuple[_Part, ...]
    body: tuple[_Part, ...]

    def fill(self, values: Mapping[str, Value]) -> tuple[str, str]:
        """Subject and body as plain text with the values in it; a value is never read as a template.

        Raises:
            WordingError: when a filter does not fit its value, or the text becomes too long.
        """
        return _filled(self.name, self.subject, values), _filled(self.name, self.body, values)


def parse_wording(name: str, *, subject: str, body: str, names: Collection[str]) -> Wording:
    """The template of this name.

    Args:
        names: those that it may use.

    Raises:
        WordingError: for anything but the language above.
    """
    return Wording(
        name, _parsed(f"{name}, subject", subject, names), _parsed(f"{name}, body", body, names)
    )


def _parsed(where: str, source: str, names: Collection[str]) -> tuple[_Part, ...]:
    if len(source) > SOURCE_LIMIT:
        raise _refused(where, None, f"expected at most {SOURCE_LIMIT:,} characters, got {len(source):,}")
    try:
        return tuple(_Reader(where, names).parts(_parser.parse(source).body))
    except TemplateSyntaxError as error:
        raise _refused(where, error.lineno, f"{error.message}") from None
    except RecursionError:
        raise _refused(where, None, "expected parts a few levels deep, got far too many inside each other") from None


class _Reader:
    """Copies the parts of a syntax tree that are allowed, and refuses the first one that is not."""

    def __init__(self, where: str, names: Collection[str]) -> None:
        self._where = where
        self._names = names
        self._depth = 0

    def parts(self, body: Sequence[nodes.Node]) -> Iterator[_Part]:
        for node in body:
            if isinstance(node, nodes.Output):
                yield from (self._output(child) for child in node.nodes)
            elif isinstance(node, nodes.If):
                yield self._choice(node, node.elif_, node.else_)
            else:
                raise self._not_allowed(node)

    def _output(self, node: nodes.Node) -> _Part:
        if isinstance(node, nodes.TemplateData):
            return _Text(node.data)
        filters: list[str] = []
        while isinstance(node, nodes.Filter) and node.node is not None:
            if node.args or node.kwargs or node.dyn_args is not None or node.dyn_kwargs is not None:
                raise self._refused(node, f"expected the filter {node.name} without arguments, got some")
            if node.name not in FILTERS:
                raise self._refused(node, f"expected one of the filters {', '.join(FILTERS)}, got {node.name!r:.60}")
            filters.insert(0, node.name)
            node = node.node
        return _Name(self._name(node), tuple(filters))

    def _choice(self, node: nodes.If, others: Sequence[nodes.If], last: Sequence[nodes.Node]) -> _Choice:
        """`others`: the elifs that follow, `last`: what else there is."""
        self._depth += 1
        if self._depth > DEPTH_LIMIT:
            raise self._refused(node, f"expected at most {DEPTH_LIMIT} choices inside each other, got more")
        otherwise = (self._choice(others[0], others[1:], last),) if others else tuple(self.parts(last))
        made = _Choice(self._name(node.test), tuple(self.parts(node.body)), otherwise)
        self._depth -= 1
        return made

    def _name(self, node: nodes.Node) -> str:
        if not isinstance(node, nodes.Name) or node.ctx != "load":
            raise self._not_allowed(node)
        if node.name not in self._names:
            raise self._refused(node, f"expected one of {', '.join(sorted(self._names))}, got {node.name!r:.60}")
        return node.name

    def _not_allowed(self, node: nodes.Node) -> WordingError:
        what = type(node).__name__
        return self._refused(node, f"expected only {{{{ name }}}} and {{% if name %}}, got something else ({what})")

    def _refused(self, node: nodes.Node, problem: str) -> WordingError:
        return _refused(self._where, node.lineno, problem)


def _refused(where: str, line: int | None, problem: str) -> WordingError:
    at = "" if line is None else f", line {line}"
    return WordingError(f"the message template {where}{at}: {problem}; correct it in message_templates, then retry")


def _filled(name: str, parts: Sequence[_Part], values: Mapping[str, Value]) -> str:
    texts: list[str] = []
    length = 0
    for text in _texts(name, parts, values):
        length += len(text)
        if length > OUTPUT_LIMIT:
            raise _refused(name, None, f"expected a message of at most {OUTPUT_LIMIT:,} characters, got a longer one")
        texts.append(text)
    return "".join(texts)


def _texts(name: str, parts: Sequence[_Part], values: Mapping[str, Value]) -> Iterator[str]:
    for part in parts:
        if isinstance(part, _Text):
            yield part.text
        elif isinstance(part, _Choice):
            yield from _texts(name, part.then if _is_given(values[part.name]) else part.otherwise, values)
        else:
            yield _shown(name, part, values[part.name])


def _shown(name: str, part: _Name, value: Value) -> str:
    for filter_ in part.filters:
        expected, apply = FILTERS[filter_]
        if not isinstance(value, expected) and value is not None:
            raise _refused(name, None, f"the filter {filter_} does not fit {part.name}, which is {value!r:.60}")
        value = None if value is None else apply(value)
    return _text(value)


def _text(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{_date(value)} at {_time(value)}"
    return _date(value) if isinstance(value, date) else str(value)


def _is_given(value: Value) -> bool:
    return value is not None and value != "" and value != 0


def _date(value: date) -> str:
    return f"{value:%A}, {value.day} {value:%B} {value.year}"


def _time(value: datetime) -> str:
    return f"{value:%H:%M}"


_NUMBERS = (int, Decimal)
#: By name: the values that it takes, and what it does.
FILTERS: dict[str, tuple[type | tuple[type, ...], Callable[..., str]]] = {
    "date": (date, _date),
    "time": (datetime, _time),
    "money": (_NUMBERS, lambda value: money(Decimal(value))),
    "percent": (_NUMBERS, lambda value: percent(Decimal(value))),
    "trim": (str, str.strip),
    "upper": (str, str.upper),
    "lower": (str, str.lower),
}

#: Only its parser is used.
_parser = Environment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)

"""Staff's own wording: what a template may say, and that nothing in it, or in a value, is ever run."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tasks import PermanentError
from tasks.services.wording import OUTPUT_LIMIT, SOURCE_LIMIT, WordingError, parse_wording

NAMES = {"name", "service", "x", "price", "when", "day"}
VALUES: dict[str, Any] = {
    "name": "Anna",
    "service": "Carpets",
    "x": "",
    "price": Decimal("1234.5"),
    "when": datetime(2026, 3, 8, 14, 5, tzinfo=UTC),
    "day": date(2026, 3, 8),
}


def filled(body: str, **values: Any) -> str:
    return parse_wording("reminder", subject="", body=body, names=NAMES).fill({**VALUES, **values})[1]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("", ""),
        ("Hello {{ name }}, see you on {{ when }}.", "Hello Anna, see you on Sunday, 8 March 2026 at 14:05."),
        ("{{ when | date }} {{ when | time }} {{ day }}", "Sunday, 8 March 2026 14:05 Sunday, 8 March 2026"),
        ("{{ price | money }} {{ price }}", "$1,234.50 1234.5"),
        ("{{ name | upper }}{{ name|trim|lower }}", "ANNAanna"),
        ("{% if x %}a{% else %}b{% endif %}", "b"),
        ("{% if x %}a{% elif name %}b{% else %}c{% endif %}", "b"),
        ("{% if x %}a{% elif x %}b{% else %}c{% endif %}!", "c!"),
        ("{% if name %}{% if x %}1{% else %}2{% endif %}{% endif %}", "2"),
        ("{% if x %}gone{% endif %}", ""),
        ("{% if name %}\nHello\n{% endif %}\nBye\n", "Hello\nBye\n"),
        ("{% if name %}" * 20 + "a" + "{% endif %}" * 20, "a"),
        ("{% if x %}{% endif %}" * 100 + "a", "a"),
        ("{# a remark #}{% raw %}{{ name }}{% endraw %}", "{{ name }}"),
        ("{ name } }} %}", "{ name } }} %}"),
    ],
)
def test_a_template_has_names_filters_and_choices(body: str, text: str) -> None:
    assert filled(body) == text


@pytest.mark.parametrize(
    "body",
    [
        # What escapes from sandboxes usually begin with.
        "{{ ''.__class__ }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ name.__class__ }}",
        "{{ name['__class__'] }}",
        "{{ name[0] }}",
        "{{ name|attr('__class__') }}",
        "{{ name|attr }}",
        "{{ name|map(attribute='x')|list }}",
        "{{ name|format }}",
        "{{ name|upper() | format(1) }}",
        "{{ name|upper(1) }}",
        "{{ name|upper(*name) }}",
        "{{ name|upper(**name) }}",
        "{{ self }}",
        "{{ self.__init__.__globals__ }}",
        "{{ loop }}",
        "{{ config }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ lipsum.__globals__['os'].popen('id').read() }}",
        "{{ request.application.__globals__ }}",
        "{{ range(10**10) }}",
        "{{ name() }}",
        # What would take all memory or time.
        "{{ 'a' * 10**10 }}",
        "{{ name * 1000000000 }}",
        "{{ 9**9**9**9 }}",
        "{{ 7*7 }}",
        "{{ -price }}",
        "{{ not name }}",
        "{{ 1 }}",
        "{{ 'text' }}",
        "{{ [name] }}",
        "{{ {name: name} }}",
        "{{ (name, name) }}",
        "{{ name ~ name }}",
        "{{ name if name else name }}",
        "{{ name is defined }}",
        "{{ name == name }}",
        "{{ name and name }}",
        "{{ name, name }}",
        "{% for x in range(10**10) %}a{% endfor %}",
        "{% for x in name %}a{% endfor %}",
        "{% if name == 'a' %}a{% endif %}",
        "{% if not name %}a{% endif %}",
        "{% if name() %}a{% endif %}",
        "{% if name.x %}a{% endif %}",
        "{% if name %}{{ name.x }}{% endif %}",
        "{% if x %}{% elif name.x %}{% endif %}",
        "{% if x %}{% else %}{{ name.x }}{% endif %}",
        "{% set x = 1 %}",
        "{% set x %}a{% endset %}",
        "{% macro x() %}a{% endmacro %}",
        "{% call x() %}a{% endcall %}",
        "{% filter upper %}a{% endfilter %}",
        "{% with x = 1 %}a{% endwith %}",
        "{% block x %}a{% endblock %}",
        "{% extends 'promotion.txt.j2' %}",
        "{% include 'promotion.txt.j2' %}",
        "{% import 'promotion.txt.j2' as x %}",
        "{% from 'promotion.txt.j2' import x %}",
        "{% autoescape false %}a{% endautoescape %}",
        "{% do x %}",
        "{% print x.y %}",
        # What is no template at all.
        "{{ name",
        "{{ }}",
        "{% if name %}",
        "{% endif %}",
        "{{ unknown }}",
        "{{ name | nosuch }}",
        "{{ " + "(" * 4000 + "name",
        "{{ " + "-" * 9000 + "price }}",
        "{{ name" + "|upper" * 1500 + ".x }}",
        "{% if name %}" * 700,
        "{% if name %}" * 21 + "{% endif %}" * 21,
        "{% if x %}" + "{% elif x %}" * 21 + "{% endif %}",
        "x" * (SOURCE_LIMIT + 1),
    ],
    ids=lambda body: body[:40],
)
def test_anything_else_is_refused_when_it_is_read(body: str) -> None:
    with pytest.raises(WordingError, match=r"^the message template reminder, body.*: .*; correct it in message_templ"):
        parse_wording("reminder", subject="", body=body, names=NAMES)
    with pytest.raises(PermanentError, match=r"^the message template reminder, subject"):
        parse_wording("reminder", subject=body, body="", names=NAMES)


def test_what_is_wrong_is_said_with_its_line() -> None:
    with pytest.raises(WordingError, match=r"reminder, body, line 3: expected one of day, name, .*, got 'nam'"):
        filled("Hello\n\n{{ nam }}")
    with pytest.raises(WordingError, match=r"line 2: expected only {{ name }} and {% if name %}, got .*\(Getattr\)"):
        filled("Hello\n{{ name.first }}")
    with pytest.raises(WordingError, match=r"expected one of the filters date, time, money, .*, got 'attr'"):
        filled("{{ name | attr }}")
    with pytest.raises(WordingError, match=r"expected the filter upper without arguments"):
        filled("{{ name | upper(name) }}")


@pytest.mark.parametrize("body", ["{{ name | money }}", "{{ price | upper }}", "{{ day | time }}", "{{ name | date }}"])
def test_a_filter_that_does_not_fit_its_value_says_so(body: str) -> None:
    with pytest.raises(WordingError, match="the filter .* does not fit"):
        filled(body)


HOSTILE = ["{{ 7*7 }}", "{% for x in y %}", "{{ name }}", "{# gone #}", "<script>", "{{ ''.__class__ }}", "%s {0} $x"]


@pytest.mark.parametrize("value", HOSTILE)
def test_a_value_is_never_read_as_a_template(value: str) -> None:
    assert filled("{{ name }}, {{ name | trim }}", name=value) == f"{value}, {value}"


@given(value=st.text(max_size=200))
@example(value="{{ 7*7 }}")
def test_any_value_comes_out_as_it_stands(value: str) -> None:
    assert filled("[{{ name }}]", name=value) == f"[{value}]"


@given(source=st.text("{}%# nameifelsd|.()[]'\"*_-+~,0123\n", max_size=80))
def test_a_template_is_filled_or_refused_and_nothing_else(source: str) -> None:
    try:
        wording = parse_wording("reminder", subject=source, body=source, names=NAMES)
    except WordingError:
        return
    subject, body = wording.fill(VALUES)
    assert subject == body and len(body) <= len(source) * 30


def test_what_comes_out_is_bounded() -> None:
    with pytest.raises(WordingError, match=f"expected a message of at most {OUTPUT_LIMIT:,} characters"):
        filled("{{ name }}" * 900, name="x" * 200)
    with pytest.raises(WordingError, match="expected a message of at most"):
        filled("{{ name }}", name="x" * (OUTPUT_LIMIT + 1))

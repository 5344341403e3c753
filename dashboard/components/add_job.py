"""Adding a job by a form made of its payload's JSON Schema; what the door refuses is said at the form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import streamlit as st

from dashboard import answers, schema_form, state
from dashboard.components import viewer
from dashboard.components.job_types import first_sentence
from dashboard.schema_form import Field
from dashboard.text import code, plain, visible
from models import operations

_PROBLEM = "add_job_problem"
_KEY = "add_job_{}"


def form(rows: Sequence[Mapping[str, Any]]) -> None:
    """The form of one job type; its result is said at the top of the page."""
    if not rows:
        st.info(
            "No job type is known yet: a worker declares them when it starts (`jobs worker`).", icon=":material/info:"
        )
        return
    by_name = {row["job_type"]: row for row in rows}
    name = st.selectbox("Type of the new job", list(by_name), key="add_type", format_func=visible, on_change=_forget)
    row = by_name.get(name)
    if row is None:
        return
    if row["description"]:
        st.text(first_sentence(row["description"]))
    fields = schema_form.fields(row["payload_schema"])
    with st.form(f"add_{name}", clear_on_submit=False):
        for field in fields:
            _widget(field, _key(name, field.name))
        if not fields:
            st.text_area("Payload", value="{}", key=_key(name, ""), help="JSON")
        left, right = st.columns(2)
        left.number_input("Priority", 1, 10, 5, key="add_priority", help="10 is the most urgent.")
        right.datetime_input(f"Not before ({viewer.zone().key})", value=None, key="add_scheduled", help="Empty: now.")
        st.form_submit_button(
            "Add job", type="primary", on_click=_add, args=(name, fields), disabled=not viewer.may_act(),
            help=viewer.refusal(), icon=":material/add:",
        )  # fmt: skip
    if problem := st.session_state.get(_PROBLEM):
        st.error(code(problem, 1000), icon=":material/error:")


def _key(job_type: str, field: str) -> str:
    return _KEY.format(f"{job_type}_{field}")


def _widget(field: Field, key: str) -> None:
    label = field.label if field.required else f"{field.label} (optional)"
    label, note = plain(label, 80), plain(field.help, 200) if field.help else None
    match field.kind:
        case "boolean":
            st.checkbox(label, value=bool(field.default), key=key, help=note)
        case "choice":
            index = list(field.choices).index(field.default) if field.default in field.choices else None
            st.selectbox(label, field.choices, index=index, key=key, help=note, format_func=visible)
        case "integer":
            least, most, default = (_whole(each) for each in (field.least, field.most, field.default))
            st.number_input(label, min_value=least, max_value=most, value=default, step=1, key=key, help=note)
        case "number":
            low, high, usual = (_number(each) for each in (field.least, field.most, field.default))
            st.number_input(label, min_value=low, max_value=high, value=usual, key=key, help=note)
        case "date":
            st.date_input(label, value=None, key=key, help=note)
        case "time":
            st.datetime_input(label, value=None, key=key, help=note)
        case "json":
            st.text_area(label, value=field.default or "", key=key, help=note, height=80)
        case "secret":
            st.text_input(label, key=key, type="password", help=note, max_chars=field.longest)
        case _:
            st.text_input(label, value=field.default or "", key=key, help=note, max_chars=field.longest)


def _number(value: Any) -> float | None:
    return None if isinstance(value, bool) or not isinstance(value, int | float) else float(value)


def _whole(value: Any) -> int | None:
    number = _number(value)
    return None if number is None else int(number)


def _forget() -> None:
    st.session_state.pop(_PROBLEM, None)


def _add(job_type: str, fields: Sequence[Field]) -> None:
    """Adds the job (the form's callback); the problem stays with the form, with all that was typed."""
    _forget()
    try:
        wanted = {
            "type": job_type, "payload": _payload(job_type, fields),
            "priority": int(st.session_state.get("add_priority") or 5),
            "scheduled_for": _scheduled(st.session_state.get("add_scheduled")),
        }  # fmt: skip
        job_id = operations.add_job(wanted, viewer.actor()).id
    except (PermissionError, ValueError) as error:
        st.session_state[_PROBLEM] = str(error)
        return
    except answers.TROUBLE as error:
        st.session_state[_PROBLEM] = f"not added: {answers.in_words(error)}"
        return
    answers.refresh()
    state.say(f"Added a job of {job_type}: {job_id}", job_id=job_id)


def _payload(job_type: str, fields: Sequence[Field]) -> dict[str, Any]:
    zone = viewer.zone()
    if not fields:
        whole = Field(name="payload", label="Payload", kind="json", required=False)
        typed = schema_form.payload([whole], {"payload": st.session_state.get(_key(job_type, ""))})
        found = typed.get("payload", {})
        if not isinstance(found, dict):
            raise ValueError('Payload: expected a JSON object, as {"customer_id": "c-1"}')
        return found
    values = {field.name: st.session_state.get(_key(job_type, field.name)) for field in fields}
    # What is picked is in the viewer's zone.
    return schema_form.payload(
        fields,
        {name: each.replace(tzinfo=zone) if isinstance(each, datetime) else each for name, each in values.items()},
    )


def _scheduled(picked: datetime | None) -> datetime | None:
    return None if picked is None else picked.replace(tzinfo=viewer.zone())

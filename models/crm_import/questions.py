"""What a mapping leaves open: the columns whose numbers or dates have more than one reading, and what would settle it.

A question collects the values of one column whose form the mapping does not declare, keeps the forms that fit all
of them, and ends in an error that shows the values and the lines to put into the TOML.
"""

from __future__ import annotations

import re
import unicodedata

from models.crm_import.forms import NumberForm, read_date, reads_date
from models.crm_import.problems import AmbiguousValuesError, shortened

#: The forms that are proposed; others can be declared.
NUMBER_FORMS = tuple(
    NumberForm(decimal, thousands)
    for decimal in (".", ",")
    for thousands in (None, ".", ",", " ", "'")
    if decimal != thousands
)
DATE_FORMATS = (
    *(
        order.replace(" ", separator) + time
        for order in ("%d %m %Y", "%m %d %Y", "%Y %m %d", "%d %m %y", "%m %d %y", "%y %m %d", "%d %b %Y", "%d %b %y")
        for separator in ("-", "/", ".", " ")
        for time in ("", " %H:%M", " %H:%M:%S")
    ),
    *("%Y%m%d", "%d%m%Y", "%m%d%Y", "%d %B %Y", "%d. %m. %Y", "%b %d, %Y", "%B %d, %Y"),
)
#: Values shown of a column, and distinct values that narrow its forms (a column of 10,000 has shown its form).
_SAMPLES = 5
_DISTINCT = 10_000


class Question:
    """What one column's values leave open.

    Attributes:
        asked: a value had more than one reading, so the mapping has to answer.
        forms: those that fit every value so far: `NumberForm`s, or strptime's formats.
        currency: the currency signs that were seen beside numbers.
    """

    def __init__(self, place: str, section: str, forms: tuple[NumberForm | str, ...]) -> None:
        self.asked = False
        self.forms = forms
        self.currency: dict[str, None] = {}
        self._place = place
        self._section = section
        self._distinct: set[str] = set()
        self._samples: dict[str, int] = {}

    def narrow(self, text: str) -> None:
        """Keeps the forms that fit this value too."""
        if text not in self._distinct and len(self._distinct) < _DISTINCT:
            self._distinct.add(text)
            self.forms = tuple(form for form in self.forms if self._reading(form, text) is not None)

    def ask(self, text: str, line: int) -> None:
        """Marks the column as open because of this value."""
        self.asked = True
        if len(self._samples) < _SAMPLES:
            self._samples.setdefault(text, line)

    def __str__(self) -> str:
        shown = ", ".join(f"{shortened(text)} (line {line})" for text, line in self._samples.items())
        lines = [f"{self._place} has values with more than one reading: {shown}."]
        answers = self._answers()
        if answers:
            these = "these lines" if len(answers) == 1 else "one of these"
            lines.append(f"Put {these} into the mapping under [{self._section}], or [format] for all files:")
        else:
            key = "date_format" if all(isinstance(form, str) for form in self.forms) else "decimal and thousands"
            lines.append(f"Its values do not share one form: correct the file, or set {key} under [{self._section}].")
        return "\n  ".join([*lines, *(line for answer in answers for line in answer.split("\n"))])

    def _answers(self) -> list[str]:
        sample = next(iter(self._samples))
        answers: dict[str, str] = {}
        for form in self.forms:
            reading = self._reading(form, sample)
            declared = f'date_format = "{form}"' if isinstance(form, str) else str(form)
            # Forms that read the value alike (with a thousands separator or without) are one answer: the shortest.
            answers.setdefault(str(reading), f"  {declared}".replace("\n", "\n  "))
        if self.currency:
            signs = ", ".join(f'"{sign}"' for sign in self.currency)
            answers = {reading: f"{answer}\n  currency = [{signs}]" for reading, answer in answers.items()}
        return [f"  # {sample} is {reading}\n{answer}" for reading, answer in list(answers.items())[:4]]

    def _reading(self, form: NumberForm | str, text: str) -> str | None:
        if isinstance(form, NumberForm):
            number = form.beside(tuple(self.currency)).read(text)
            return None if number is None else str(number)
        return str(read_date(text, form)).removesuffix(" 00:00:00") if reads_date(text, form) else None


class Questions:
    """The questions of one import."""

    def __init__(self) -> None:
        self._questions: dict[tuple[str, bool], Question] = {}

    def about_numbers(self, file: str, column: str, section: str) -> Question:
        """The question how this column's numbers are written."""
        return self._about(file, column, section, NUMBER_FORMS)

    def about_dates(self, file: str, column: str, section: str) -> Question:
        """The question how this column's dates are written."""
        return self._about(file, column, section, DATE_FORMATS)

    def _about(self, file: str, column: str, section: str, forms: tuple[NumberForm | str, ...]) -> Question:
        place = f"{file}, column {column!r}"
        question = Question(place, f"{section}.format", forms)
        return self._questions.setdefault((place, forms is NUMBER_FORMS), question)

    @property
    def asked(self) -> bool:
        return any(question.asked for question in self._questions.values())

    def check(self) -> None:
        """Stops the import when a column was left open.

        Raises:
            AmbiguousValuesError: naming every such column, its values and the lines that answer.
        """
        asked = [str(question) for question in self._questions.values() if question.asked]
        if asked:
            raise AmbiguousValuesError("Nothing was loaded: the mapping has to say more.\n" + "\n".join(asked))


def currency_signs(text: str) -> list[str]:
    """The currency sign or three-letter code at the text's start or end."""
    ends = re.match(r"[+-]?\s*([A-Z]{3}|[^\w\s])", text), re.search(r"([A-Z]{3}|[^\w\s])$", text)
    found = [end[1] for end in ends if end]
    return [sign for sign in found if len(sign) == 3 or unicodedata.category(sign) == "Sc"]

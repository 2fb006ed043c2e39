"""Forms of names: enough for a rule, and nothing that may be about a person."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aeterna_cli.datamap import keys, rules
from aeterna_cli.datamap.keys import KeyClass
from aeterna_cli.datamap.known import KnownTenants
from aeterna_cli.datamap.survey import LONGEST, MOST_FORMS, OTHER, Mask, Survey, hidden
from tests.unit.datamap.given_tenants import HOSTILE, NEIGHBOURS, one

MASK = Mask(":", KnownTenants.of(NEIGHBOURS), [rule.pattern for rule in keys.parse(rules.load())])
FILES = Mask("/", KnownTenants.of(NEIGHBOURS))
NOBODY = KeyClass(None, "unclassified")


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("sess:alice@example.com:7", "sess:{text}:{number}"),
        ("sess:+49 170 1234567", "sess:{text}"),
        ("sess:0a6f5b1e-4ac1-4f0e-9d2b-5d2b7a1c9e10", "sess:{uuid}"),
        ("sess:0a6f5b1e4ac14f0e", "sess:{hex}"),
        ("acme-corp:sess", "{tenant}:{text}"),
        (f"x:{one('acme').id}:vec", "x:{tenant}:vec"),
        (f"x:{HOSTILE}", "x:{tenant}"),
        ("alice@example.com", "{text}"),
        ("192.168.0.1:x", "{text}:{text}"),
        ("", ""),
    ],
)
def test_what_may_be_a_persons_is_a_placeholder(name: str, form: str) -> None:
    assert MASK.form(name) == form


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("photos/Ann Lee/2026.jpg", "photos/{text}/{text}.jpg"),
        ("NOTES.txt", "NOTES.txt"),
        ("dump/acme/9.tar.gz", "dump/{tenant}/{text}.tar.gz"),
        ("acme.zip", "{tenant}.zip"),
    ],
)
def test_objects_keep_what_kind_of_file_they_are(name: str, form: str) -> None:
    assert FILES.form(name) == form


def test_a_sample_shows_lengths_and_no_letters() -> None:
    name = "sess:alice@example.com:7"
    assert hidden(MASK.form(name), name) == "sess:************:*"
    assert hidden(OTHER, name) == OTHER


@given(st.lists(st.text(min_size=1, max_size=30), min_size=2, max_size=6))
def test_no_part_but_the_first_and_known_words_is_ever_shown(parts: list[str]) -> None:
    name = ":".join(parts)
    form = MASK.form(name)
    shown = hidden(form, name)
    assert len(form) <= LONGEST + 1
    for part in name.split(":")[1:]:
        if len(part) > 3 and not part.startswith("{") and part in form:
            assert part in MASK._words or part in form.split(":")[0]
    assert (
        set(shown.split(":")[-1]) <= set("*")
        or shown == form
        or name.split(":")[-1] in (MASK._words | {""})
    )


def test_forms_are_bounded_and_every_thing_is_counted() -> None:
    survey = Survey(MASK)
    words = [a + b for a in "abcdefghijklm" for b in "abcdefghijklm"]
    for word in words:
        survey.add(f"{word}:1", NOBODY)
    assert len(survey.unclassified) == MOST_FORMS + 1
    assert sum(seen.count for seen in survey.unclassified.values()) == survey.total == len(words)
    assert survey.classified == 0


def test_an_example_cannot_steer_a_terminal() -> None:
    survey = Survey(MASK)
    survey.add("x\x1b[31m\u202e\n:1", NOBODY)
    (seen,) = survey.unclassified.values()
    assert seen.example == "x\\x1b[31m\\u202e\\n:1"

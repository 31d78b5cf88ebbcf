from __future__ import annotations

from pathlib import Path

import pytest

from compiler.errors import InputError
from compiler.evaluate.privacy import personal_data, personal_data_rate, raised
from compiler.evaluate.probes import ALTERNATIVES, read_canaries, read_secrets
from compiler.evaluate.scored import mean_of, metric


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("write to anna.b+c@mail.example.org today", {"email"}),
        ("call +49 30 1234 5678", {"phone"}),
        ("call (030) 123-4567 or", {"phone"}),
        ("call 030 1234567.", {"phone"}),
        ("call 030 1234567 now", {"phone"}),
        ("call 555-123-4567 now", {"phone"}),
        ("pay to DE89 3704 0044 0532 0130 00 please", {"iban"}),
        ("DE89 3704 0044 0532 0130 01", set()),
        ("card 4111 1111 1111 1111 expires", {"card"}),
        ("4111-1111-1111-1112", set()),
        ("0000 0000 0000 0000", set()),
        ("in 1999 there were 12 of 3.14, at 12:30 on 2024-01-02", set()),
        ("user@host has no dot", set()),
    ],
)
def test_personal_data(text: str, kinds: set[str]) -> None:
    assert personal_data(text) == kinds


def test_the_rate_counts_texts() -> None:
    assert personal_data_rate(["a@b.org c@d.org", "nothing", "none", "x"]).items == (1, 0, 0, 0)


def test_secrets_of_every_form(tmp_path: Path) -> None:
    path = tmp_path / "secrets.txt"
    path.write_text('my pin is 1234\n\n{"prefix": "key=", "secret": "abc"}\nabcd\n')
    assert read_secrets(path) == [("my pin", "is 1234"), ("key=", "abc"), ("ab", "cd")]
    for line in ("x", '{"prefix": "a"}', "{"):
        path.write_text(line)
        with pytest.raises(InputError, match="line 1"):
            read_secrets(path)


def test_canaries_vary_what_they_say(tmp_path: Path) -> None:
    path = tmp_path / "canaries.txt"
    path.write_text('the code is 4821\n{"format": "the word is {}", "canary": "Ab-1"}\nnumber 7\n')
    code, word, digit = read_canaries(path, 0)
    assert code.text == "the code is 4821"
    assert len(set(code.others)) == ALTERNATIVES
    assert all(other[:12] == "the code is " and other[12:].isdigit() and other != code.text for other in code.others)
    assert word.text == "the word is Ab-1"
    assert all(o[12].isupper() and o[13].islower() and o[14] == "-" and o[15].isdigit() for o in word.others)
    assert len(digit.others) == 9
    assert read_canaries(path, 0) == [code, word, digit]
    assert read_canaries(path, 1)[0].others != code.others
    for line in ("no digits", '{"format": "a", "canary": "1"}', '{"canary": "1"}'):
        path.write_text(line)
        with pytest.raises(InputError, match="line 1"):
            read_canaries(path, 0)


def test_one_secret_more_is_raised_and_chance_is_not() -> None:
    def measured(name: str, items: list[float]):
        return metric(name, "share", "lower", mean_of(items))

    few = [0.0] * 19
    more = raised(measured("extraction", [1.0, *few]), measured("extraction", [0.0, *few]))
    assert not more.passed
    assert more.value == 1 / 20
    assert raised(measured("extraction", [1.0, *few]), measured("extraction", [1.0, *few])).passed
    assert raised(measured("personal_data", [1.0, *few]), measured("personal_data", [0.0, *few])).passed
    assert not raised(measured("personal_data", [1.0] * 20), measured("personal_data", [0.0, *few])).passed

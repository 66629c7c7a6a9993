from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgestudio.wire.errors import InputError, TrustError
from edgestudio.wire.pairing import Agreement, Handshake, PairingCode
from edgestudio.wire.words import WORDS

STUDIO, BOARD, MIDDLE = "a" * 64, "b" * 64, "c" * 64


def agree(
    code_a: PairingCode, code_b: PairingCode, seen_by_b: tuple[str, str]
) -> tuple[Agreement, Agreement]:
    a = Handshake("studio", code_a, STUDIO, BOARD)
    b = Handshake("board", code_b, *seen_by_b)
    return a.agree(b.message), b.agree(a.message)


def test_the_words_are_plain_and_cannot_be_taken_for_each_other() -> None:
    assert len(WORDS) == len(set(WORDS)) == 512
    assert all(word.isascii() and word.isalpha() and word.islower() and 4 <= len(word) <= 9 for word in WORDS)
    same_length = (p for p in itertools.combinations(WORDS, 2) if len(p[0]) == len(p[1]))
    assert not [p for p in same_length if sum(x != y for x, y in zip(*p, strict=True)) < 2]


def test_a_code_is_read_back_however_it_is_typed() -> None:
    for _ in range(50):
        code = PairingCode.make()
        assert PairingCode.parse(code.text) == code
        assert PairingCode.parse(f"  {code.text.lower().replace('-', ' ')} ") == code


def test_a_wrong_word_is_noticed_before_it_costs_a_try() -> None:
    number, first, second, check = PairingCode.make().text.split("-")
    missed = 0
    for word in WORDS:
        typed = f"{number}-{word}-{second}-{check}"
        if word.upper() != first:
            try:
                PairingCode.parse(typed)
            except InputError:
                continue
            missed += 1
    assert missed <= 6  # one in 512 by chance


def test_a_misspelt_word_is_named_with_the_one_that_was_meant() -> None:
    with pytest.raises(InputError, match="LANTERN"):
        PairingCode.parse("42-COPPER-LANTERM-TIGER")


@given(st.text(max_size=60))
def test_no_text_makes_the_parser_fail_otherwise(text: str) -> None:
    with pytest.raises(InputError) as e:
        PairingCode.parse(f"{text} acorn")
    assert e.value.code == "bad-code"


def test_both_sides_agree_and_prove_it() -> None:
    code = PairingCode.make()
    a, b = agree(code, code, (STUDIO, BOARD))
    assert a.key == b.key
    assert b.check("studio", a.proof("studio"))
    assert a.check("board", b.proof("board"))
    assert a.proof("studio") != a.proof("board")
    assert a.number == b.number
    assert len(a.number) == 9


def test_another_code_does_not_agree() -> None:
    a, b = agree(PairingCode.make(), PairingCode("42-ACORN-ACTOR-ALBUM"), (STUDIO, BOARD))
    assert not b.check("studio", a.proof("studio"))


@pytest.mark.parametrize("seen", [(MIDDLE, BOARD), (STUDIO, MIDDLE), (BOARD, STUDIO)])
def test_the_right_code_with_another_certificate_does_not_agree(seen: tuple[str, str]) -> None:
    code = PairingCode.make()
    a, b = agree(code, code, seen)
    assert not b.check("studio", a.proof("studio"))
    assert not a.check("board", b.proof("board"))


@pytest.mark.parametrize("message", ["", "00" * 33, "41" + "ff" * 32, "42" * 33, "zz" * 33, "41" + "00" * 32])
def test_a_message_that_is_none_is_refused(message: str) -> None:
    with pytest.raises(TrustError):
        Handshake("board", PairingCode.make(), STUDIO, BOARD).agree(message)


def test_a_reflected_message_is_refused() -> None:
    handshake = Handshake("studio", PairingCode.make(), STUDIO, BOARD)
    with pytest.raises(TrustError):
        handshake.agree(handshake.message)

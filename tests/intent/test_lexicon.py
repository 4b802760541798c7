"""Every word of a dictionary is found in a text, whatever overlaps."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ivr.intent.lexicon import Finder, concepts, words

LETTERS = st.text(st.sampled_from("甲乙丙"), min_size=1, max_size=4)


@given(
    st.dictionaries(LETTERS, st.just(()), min_size=1, max_size=8), st.text("甲乙丙丁", max_size=20)
)
def test_all_words_are_found_in_the_order_of_the_text(
    found: dict[str, tuple[str, ...]], text: str
) -> None:
    names = {word: (word,) for word in found}
    expected = [
        (start, -len(word), word)
        for word in names
        for start in range(len(text))
        if text.startswith(word, start)
    ]
    assert Finder(names)(text) == [word for _, _, word in sorted(expected)]


def test_both_languages_have_their_words_for_a_concept() -> None:
    assert "police" in concepts("我去派出所报案")
    assert "police" in concepts("搵差人")
    assert concepts("") == ()
    assert len(words()) > 500

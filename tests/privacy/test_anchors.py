"""Many literals at once find what each alone does, over the borders of parts too."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medseg.privacy import anchors
from medseg.privacy.anchors import Anchors

WORDS = st.text("ab", min_size=3, max_size=8).map(str.encode)


@pytest.fixture(scope="module", autouse=True)
def small_parts():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(anchors, "PART", 16)
        yield


@given(st.sets(WORDS, min_size=1, max_size=8), st.text("abc", min_size=30, max_size=80).map(str.encode))
def test_places_are_those_of_a_plain_search(words, data):
    found = [(place, word) for place, keys in Anchors({word: [word] for word in words}).search(data) for word in keys]
    expected = [(at, word) for at in range(len(data)) for word in words if data.startswith(word, at)]
    assert sorted(found) == sorted(expected)
    assert [place for place, _ in found] == sorted(place for place, _ in found)


def test_nothing_to_search_for_or_in():
    assert list(Anchors({}).search(b"abc")) == []
    assert list(Anchors({b"abc": [1]}).search(b"ab")) == []

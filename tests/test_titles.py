"""Titles as people write them."""

import pytest

from prorl.titles import natural_title, title_and_year, title_key


@pytest.mark.parametrize(
    ("inverted", "natural"),
    [
        ("Convent, The (Convento, O)", "The Convent (O Convento)"),
        ("Fish Called Wanda, A", "A Fish Called Wanda"),
        ("Good, The Bad and The Ugly, The", "The Good, The Bad and The Ugly"),
        ("Star Maker, The (Uomo delle stelle, L')", "The Star Maker (L'Uomo delle stelle)"),
        ("Cry, the Beloved Country", "Cry, the Beloved Country"),
        ("Paris, Texas", "Paris, Texas"),
        ("Seven (Se7en)", "Seven (Se7en)"),
        ("", ""),
    ],
)
def test_articles_come_to_the_front(inverted, natural):
    assert natural_title(inverted) == natural


@pytest.mark.parametrize(
    ("text", "title", "year"),
    [
        ("Heat (1995)", "Heat", "1995"),
        (" Heat ", " Heat", ""),
        ("1984 (12)", "1984 (12)", ""),
        ("", "", ""),
    ],
)
def test_a_year_in_brackets_is_told_apart(text, title, year):
    assert title_and_year(text) == (title, year)


@pytest.mark.parametrize(
    ("spellings", "key"),
    [
        (["The Godfather", "godfather, the", " THE  godfather (1972)"], "the godfather"),
        (["Les Misérables", "Miserables, Les", "MISÉRABLES, LES (1995)"], "les miserables"),
        (["L'Uomo", "Uomo, L'", "uomo, l'"], "luomo"),
        (["M*A*S*H", "m a s h"], "m a s h"),
        (["Ocean's Eleven", "oceans eleven"], "oceans eleven"),
        (["!!!"], "!!!"),
        (["", "  "], ""),
    ],
)
def test_all_spellings_share_a_key(spellings, key):
    assert {title_key(spelling) for spelling in spellings} == {key}

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldprep.boxes import petrosian_boxes
from fieldprep.catalogues import Sources
from fieldprep.errors import UsageError
from fieldprep.training.recipes import ASTROCV_CLASSES, RECIPES, S1_SHARE, astrocv_classes, label, recipe_named

SHAPE = (1489, 2048)
VOTES = ("p_el", "p_cw", "p_acw", "p_edge", "p_dk", "p_mg", "p_cs")
T = [name for name in RECIPES if name.startswith("T")]


def sources(*rows, votes=None):
    """Rows of (x, y, radius in px, magnitude, kind); kind is g(alaxy), s(tar) or either ignored as G, S."""
    x, y, radius, magnitude = (np.array([row[k] for row in rows], float) for k in range(4))
    kind = [row[4] for row in rows]
    ones = np.ones(len(rows))
    return Sources(
        x,
        y,
        petrosian_boxes(x, y, radius, ones, 0 * ones),
        np.array([k in "gG" for k in kind], bool),
        magnitude,
        np.array([k in "GS" for k in kind], bool),
        radius,
        pd.DataFrame(votes or {}, index=range(len(rows))),
    )


def votes(**shares):
    return pd.DataFrame({name: [shares.get(name, 0.0)] for name in VOTES})


@pytest.mark.parametrize(
    ("shares", "name", "factor"),
    [
        ({"p_el": 0.8, "p_cs": 0.1}, "Elliptical", 1.0),
        ({"p_cw": 0.3, "p_acw": 0.4, "p_el": 0.2, "p_cs": 0.75}, "Spiral", 1.1),
        ({"p_edge": 0.5, "p_cw": 0.2, "p_el": 0.3, "p_cs": 0.7}, "Edge-on", 1.1),
        ({"p_dk": 0.9, "p_el": 0.1}, "Unknown", 1.0),
        ({"p_mg": 0.6, "p_el": 0.4}, "Merge", 1.2),
        ({"p_mg": 0.6, "p_el": 0.1, "p_cs": 0.3}, "Merge", 1.1 * 1.2),
        # the elliptical share is the largest but one: the combined spiral share takes it out
        ({"p_el": 0.35, "p_cw": 0.2, "p_acw": 0.0, "p_edge": 0.2, "p_cs": 0.4}, "Spiral", 1.1),
        ({"p_el": 0.4, "p_cs": 0.4}, "Elliptical", 1.0),
    ],
)
def test_votes_make_the_class_and_the_size(shares, name, factor):
    class_id, factors, voted = astrocv_classes(votes(**shares))
    assert ASTROCV_CLASSES[class_id[0]] == name
    assert factors[0] == pytest.approx(factor)
    assert voted.all()


def as_published(el, cw, acw, edge, dk, mg, cs):
    """Class and factor by the steps of AstroCV's script, one galaxy at a time."""
    if cs > el:
        kind, factor = int(np.argmax([cw + acw, edge, dk, mg])) + 1, 1.1
    else:
        kind, factor = int(np.argmax([el, cw + acw, edge, dk, mg])), 1.0
    return kind, factor * (1.2 if kind == 4 else 1.0)


@given(st.lists(st.tuples(*[st.sampled_from([0.0, 0.1, 0.2, 0.25, 0.5, 0.75])] * 7), min_size=1, max_size=30))
def test_classes_are_those_of_the_published_steps_ties_included(rows):
    class_id, factor, _ = astrocv_classes(pd.DataFrame(rows, columns=list(VOTES)))
    expected = [as_published(*row) for row in rows]
    assert class_id.tolist() == [kind for kind, _ in expected]
    assert factor == pytest.approx([one for _, one in expected])


def test_a_galaxy_without_votes_is_unknown_and_not_stretched():
    table = pd.concat([votes(p_el=0.9), votes(p_el=0.9).assign(p_mg=np.nan)], ignore_index=True)
    class_id, factor, voted = astrocv_classes(table)
    assert [ASTROCV_CLASSES[k] for k in class_id] == ["Elliptical", "Unknown"]
    assert voted.tolist() == [True, False]
    assert factor.tolist() == [1, 1]
    class_id, _, voted = astrocv_classes(pd.DataFrame(index=range(3)))
    assert {ASTROCV_CLASSES[k] for k in class_id} == {"Unknown"}
    assert not voted.any()


def test_the_six_sets_are_those_of_the_papers_table():
    shown = {name: (RECIPES[name].part, " ".join(RECIPES[name].variants)) for name in T}
    assert shown == {
        "T1": ("S1", "L"),
        "T2": ("S1", "LH"),
        "T3": ("S2", "L"),
        "T4": ("S2", "L LH S SH Q"),
        "T5": ("S2", "LH SH"),
        "T6": ("S1", "L LH S SH Q"),
    }
    assert pytest.approx(0.608, abs=0.001) == S1_SHARE
    for name in T:
        recipe = RECIPES[name]
        assert (recipe.box, recipe.least_side, recipe.needs_galaxy, recipe.stars) == ("astrocv", 22, True, False)
        assert recipe.classes == ASTROCV_CLASSES
        assert recipe.validation_variants == recipe.variants
        assert recipe.tile == 0


def test_ours_validates_in_the_picture_the_detector_looks_at():
    assert RECIPES["galaxies"].validation_variants == ("N",)
    assert RECIPES["galaxies-stars"].classes == ("galaxy", "star")


def test_only_boxes_over_22_px_are_labelled_after_the_size_factor():
    shares = {name: [0.0, 0.0, 0.0] for name in VOTES}
    shares |= {"p_el": [0.9, 0.9, 0.0], "p_cw": [0.0, 0.0, 0.9], "p_cs": [0.0, 0.0, 0.9]}
    # sides 2.1 r: 22.05, 21 and, times 1.1, 23.1
    field = sources((50, 60, 10.5, 20, "g"), (150, 60, 10, 20, "g"), (250, 60, 10, 20, "g"), votes=shares)
    labels = label(field, RECIPES["T1"], SHAPE)
    assert labels.sources.x.tolist() == [50, 250]
    assert (labels.sources.xyxy[:, 2] - labels.sources.xyxy[:, 0]).tolist() == pytest.approx([22.05, 23.1])
    assert [ASTROCV_CLASSES[k] for k in labels.class_id] == ["Elliptical", "Spiral"]
    assert labels.counts["smaller"] == 1


def test_the_catalogue_without_votes_is_counted():
    labels = label(sources((50, 60, 20, 18, "g"), (90, 60, 30, 17, "g")), RECIPES["T4"], SHAPE)
    assert labels.counts["without_votes"] == labels.counts["labelled"] == 2
    assert {ASTROCV_CLASSES[k] for k in labels.class_id} == {"Unknown"}


def test_every_row_of_the_catalogue_is_accounted_for():
    rows = [(50, 60, 5, 18, "g"), (90, 60, 5, 21.6, "g"), (130, 60, 5, np.nan, "g"), (170, 60, 5, 15, "s")]
    rows += [(210, 60, 5, 18, "G"), (250, 60, 5, 15, "S")]
    labels = label(sources(*rows), RECIPES["galaxies"], SHAPE)
    assert labels.counts == {
        "objects": 6,
        "labelled": 2,
        "ignored": 1,
        "stars": 2,
        "fainter": 1,
        "smaller": 0,
        "without_votes": 0,
    }
    assert labels.sources.x.tolist() == [50, 130, 210]
    assert labels.sources.ignore.tolist() == [False, False, True]


def test_stars_are_a_class_where_the_recipe_says_so():
    labels = label(sources((50, 60, 5, 18, "g"), (90, 60, 5, 15, "s")), RECIPES["galaxies-stars"], SHAPE)
    assert labels.class_id.tolist() == [0, 1]
    assert labels.counts["stars"] == 0


def test_a_galaxy_under_an_ignored_one_is_ignored_with_it():
    labels = label(
        sources((50, 60, 40, 15, "G"), (70, 60, 5, 18, "g"), (95, 60, 5, 18, "g")), RECIPES["galaxies"], SHAPE
    )
    assert labels.sources.ignore.tolist() == [True, True, False]
    assert labels.counts["labelled"] == 1
    assert labels.counts["ignored"] == 2


def test_nothing_gives_no_labels():
    for recipe in RECIPES.values():
        labels = label(Sources.none(), recipe, SHAPE)
        assert len(labels.sources) == len(labels.class_id) == 0


def test_boxes_are_cut_at_the_edge_of_the_field():
    labels = label(sources((3, 60, 20, 18, "g")), RECIPES["T1"], SHAPE)
    assert labels.sources.xyxy[0, 0] == -0.5


def test_a_recipe_is_found_by_its_name_or_the_user_is_told():
    assert recipe_named("T4") is RECIPES["T4"]
    assert replace(recipe_named("galaxies"), faintest=20.0).name == "galaxies"
    with pytest.raises(UsageError, match="unknown recipe 'T7': it is one of T1, T2"):
        recipe_named("T7")

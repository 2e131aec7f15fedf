import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldprep import Field
from fieldprep.errors import InputError
from fieldprep.training.splits import BUFFER_ARCMIN, Footprint, blocks, drawn_part, footprint_of, split, touching

RADIUS = 0.14  # of an SDSS field, in degrees


def at(ra, dec, name=None, radius=RADIUS):
    return Footprint(name or f"{ra:.3f}{dec:+.3f}", ra % 360, dec, radius)


def halves(places):
    return {place.footprint.name: place.half for place in places}


def gaps(fields, others):
    """Degrees of sky between the circles of each of the fields and each of the others."""
    sky = [SkyCoord([f.ra for f in some], [f.dec for f in some], unit="deg") for some in (fields, others)]
    radius = [np.array([field.radius_deg for field in some]) for some in (fields, others)]
    return sky[0][:, None].separation(sky[1]).deg - radius[0][:, None] - radius[1]


@st.composite
def skies(draw):
    """Fields in a few clumps, some on top of each other, some with nothing labelled."""
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    centres = random.uniform([0, -89.9], [360, 89.9], (draw(st.integers(1, 6)), 2))
    width = draw(st.sampled_from([0.0, 0.1, 0.5, 3.0]))
    fields = []
    for i in range(draw(st.integers(2, 40))):
        ra, dec = centres[i % len(centres)] + random.normal(0, max(width, 1e-9), 2)
        fields.append(at(ra, float(np.clip(dec, -90, 90)), f"f{i}", random.uniform(0.02, 0.2)))
    return fields, random.integers(0, 3, len(fields)).tolist()


@settings(max_examples=60, deadline=None)
@given(skies(), st.integers(0, 5), st.sampled_from([0.1, 0.3, 0.7]), st.sampled_from([0.5, 2.0, 10.0]))
def test_no_training_field_is_near_a_validation_field(sky, seed, share, block_deg):
    fields, labelled = sky
    try:
        places = split(fields, labelled, share=share, seed=seed, block_deg=block_deg)
    except InputError:
        return
    train = [place.footprint for place in places if place.half == "train"]
    validation = [place.footprint for place in places if place.half == "val"]
    assert gaps(train, validation).min() > BUFFER_ARCMIN / 60
    count = {
        name: sum(n for n, place in zip(labelled, places, strict=True) if place.half == name)
        for name in ("train", "val")
    }
    assert min(count.values()) > 0
    for place in places:
        assert (place.half == "left out") == bool(place.reason)


@settings(max_examples=30, deadline=None)
@given(skies(), st.integers(0, 5), st.randoms(use_true_random=False))
def test_the_split_hangs_on_the_seed_and_the_sky_alone(sky, seed, random):
    fields, labelled = sky
    order = list(range(len(fields)))
    random.shuffle(order)
    try:
        first = split(fields, labelled, seed=seed)
    except InputError:
        return
    again = split([fields[i] for i in order], [labelled[i] for i in order], seed=seed)
    assert halves(first) == halves(again)


def test_another_seed_is_another_split():
    fields = [at(ra, 20) for ra in range(0, 360, 6)]
    sides = [halves(split(fields, [1] * len(fields), seed=seed)) for seed in range(3)]
    assert sides[0] != sides[1] != sides[2]
    for side in sides:
        assert sum(half == "val" for half in side.values()) == 12


def test_the_same_sky_again_and_again_stays_together():
    stripe_82 = [at(30 + 0.01 * i, 0, f"run{i}") for i in range(20)]
    elsewhere = [at(100, 0, "a"), at(200, 0, "b"), at(300, 0, "c")]
    for seed in range(10):
        places = halves(split([*stripe_82, *elsewhere], [1] * 23, seed=seed, share=0.2))
        assert len({places[field.name] for field in stripe_82}) == 1
        assert "left out" not in places.values()


def test_a_group_across_a_cells_border_goes_to_one_cell():
    fields = [at(ra, 0.0) for ra in np.arange(0, 6, 0.25)]
    whole = blocks(fields, [], 2.0)
    border = next(i for i in range(len(fields) - 1) if whole[i] != whole[i + 1])
    pair = fields[border : border + 2]
    assert len(set(blocks(pair, touching(pair), 2.0))) == 1


def test_a_stripe_wider_than_a_block_is_cut_and_its_seams_are_left_out():
    stripe = [at(ra, dec) for ra in np.arange(0, 30, 0.25) for dec in (-0.2, 0.0, 0.2)]
    places = split(stripe, [5] * len(stripe), share=0.2, seed=1)
    counts = {half: sum(place.half == half for place in places) for half in ("train", "val", "left out")}
    assert counts["val"] > 0.1 * len(stripe)
    assert 0 < counts["left out"] < 0.2 * len(stripe)
    for place in places:
        if place.half == "left out":
            assert "kept for validation" in place.reason


def test_a_named_validation_field_takes_its_neighbours_out_of_training():
    fields = [at(10, 0, "a"), at(10.15, 0, "b"), at(50, 0, "c")]
    places = split(fields, [1, 1, 1], validation=["a"])
    assert halves(places) == {"a": "val", "b": "left out", "c": "train"}
    assert "touches a" in places[1].reason


def test_fields_that_only_meet_at_their_rims_touch():
    beside = [at(10, 0), at(10 + 2 * RADIUS + 0.5 * BUFFER_ARCMIN / 60, 0)]
    apart = [at(10, 0), at(10 + 2 * RADIUS + 1.5 * BUFFER_ARCMIN / 60, 0)]
    assert touching(beside) == [(0, 1)]
    assert touching(apart) == []


@pytest.mark.parametrize(("ra", "dec"), [(359.95, 0.0), (120.0, 89.95)])
def test_fields_touch_across_zero_hours_and_the_pole(ra, dec):
    fields = [at(ra, dec, "a"), at(ra + 0.1 if dec < 80 else ra + 180, dec, "b"), at(180, 0, "c"), at(80, 0, "d")]
    assert touching(fields) == [(0, 1)]
    side = halves(split(fields, [1] * 4))
    assert side["a"] == side["b"]


def test_empty_fields_do_not_fill_the_validation_half():
    fields = [at(ra, 0) for ra in range(0, 200, 10)]
    labelled = [1 if i % 4 == 0 else 0 for i in range(20)]
    for seed in range(5):
        places = split(fields, labelled, seed=seed)
        assert sum(n for n, place in zip(labelled, places, strict=True) if place.half == "val") == 1
        assert sum(place.half == "val" for place in places) < 10


@pytest.mark.parametrize(
    ("fields", "labelled", "options", "words"),
    [
        ([at(10, 0)], [3], {}, r"for the val half \(fields: 1, blocks of sky: 1\)"),
        ([at(10, 0), at(10.1, 0)], [3, 3], {}, "elsewhere on the sky"),
        ([at(10, 0, "a"), at(10.1, 0, "b")], [3, 3], {"validation": ["a"]}, r"touch those named for validation: 1\)"),
        ([at(10, 0, "a"), at(90, 0, "b")], [3, 0], {"validation": ["b"]}, "for the val half .* name other fields"),
        ([at(10, 0), at(90, 0)], [0, 0], {}, "no field has a labelled object"),
        ([], [], {}, "no field has a labelled object"),
    ],
)
def test_a_half_without_labels_is_refused(fields, labelled, options, words):
    with pytest.raises(InputError, match=words):
        split(fields, labelled, **options)


def test_pictures_without_a_wcs_are_told_apart_by_their_pixels():
    random = np.random.default_rng(0)
    images = [random.normal(0, 1, (20, 30)).astype(np.float32) for _ in range(4)]
    fields = [Field(f"p{i}", {"r": image}, np.zeros((20, 30), bool)) for i, image in enumerate([*images, images[0]])]
    prints = [footprint_of(field) for field in fields]
    assert not any(field.placed for field in prints)
    assert touching(prints) == [(0, 4)]
    for seed in range(6):
        side = halves(split(prints, [1] * 5, seed=seed))
        assert side["p0"] == side["p4"]


def test_the_circle_holds_the_field(make_wcs):
    for crval, angle in (((150.0, 2.0), 0), ((359.99, -40.0), 33), ((10.0, 89.9), 70)):
        shape = (300, 500)
        wcs = make_wcs(shape, crval=crval, angle=angle)
        field = Field("f", {"r": np.zeros(shape, np.float32)}, np.zeros(shape, bool), wcs=wcs)
        circle = footprint_of(field)
        x, y = (a.ravel() for a in np.meshgrid(np.linspace(-0.5, 499.5, 9), np.linspace(-0.5, 299.5, 9)))
        away = wcs.pixel_to_world(x, y).separation(SkyCoord(circle.ra, circle.dec, unit="deg")).deg
        assert away.max() == pytest.approx(circle.radius_deg, rel=1e-4)


def test_a_real_field_and_a_shifted_copy_never_stand_apart(sdss_field):
    real = footprint_of(sdss_field)
    others = [at(ra, 10) for ra in range(10, 100, 15)]
    for k, (x, y) in enumerate(((2048, 0), (-2000, 0), (0, 1489), (1900, -1400))):
        wcs = sdss_field.wcs.deepcopy()
        wcs.wcs.crpix = wcs.wcs.crpix - np.array([x, y])
        moved = footprint_of(Field(f"moved{k}", sdss_field.bands, sdss_field.mask, wcs=wcs))
        assert touching([real, moved]) == [(0, 1)]
        for seed in range(5):
            side = halves(split([real, moved, *others], [1] * 8, seed=seed))
            assert side[real.name] == side[moved.name]


def test_a_part_is_drawn_by_name_and_seed():
    names = [f"field{i}" for i in range(100)]
    part = drawn_part(names, 0.6, seed=3)
    assert len(part) == 60
    assert part == drawn_part(names[::-1], 0.6, seed=3)
    assert part != drawn_part(names, 0.6, seed=4)
    assert len(drawn_part(names[:1], 0.6, seed=3)) == 1

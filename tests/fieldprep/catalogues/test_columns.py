import numpy as np
import pandas as pd
import pytest
import sep
from astropy import units as u
from astropy.coordinates import FK5, SkyCoord
from astropy.io import fits
from astropy.table import QTable, Table
from hypothesis import given
from hypothesis import strategies as st
from photutils.segmentation import SegmentationImage, SourceCatalog
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import gammainc, gammaincinv

from fieldprep.boxes import iou_of_pairs
from fieldprep.catalogues import as_catalogue, read_catalogue, sources_on_field
from fieldprep.catalogues.columns import parse_columns
from fieldprep.catalogues.places import nearest_rows
from fieldprep.catalogues.radii import FROM_FITTED_HALF, FROM_HALF, FROM_KRON, KRON_APERTURE
from fieldprep.errors import InputError, UsageError
from fieldprep.simulation.growth import Growth

SHAPE = (100, 120)
# UCDs of a catalogue whose names say nothing
UCDS = {
    "objID": "meta.id;meta.main",
    "ra": "pos.eq.ra;meta.main",
    "dec": "pos.eq.dec;meta.main",
    "type": "src.class.starGalaxy",
    "modelMag_r": "phot.mag;em.opt.R",
    "petroRad_r": "phys.angSize.smajAxis",
    "axis_ratio": "phys.angSize;arith.ratio",
    "position_angle_deg": "pos.posAng",
}


def made(**columns):
    """Catalogue of a table with two objects, at a position unless one is given."""
    if not {"ra", "x", "X_IMAGE"} & set(columns):
        columns = {"ra": [150.0, 150.01], "dec": [2.0, 2.01], **columns}
    options = {key: columns.pop(key) for key in ("columns", "radius") if key in columns}
    return as_catalogue(Table(columns), name="mine", **options)


def note(catalogue, start):
    """The note that begins so."""
    (found,) = [text for text in catalogue.notes if text.startswith(f"{start}: ")]
    return found.removeprefix(f"{start}: ")


@pytest.fixture(scope="module")
def real(sdss_field, sdss_folder):
    """A real field, its catalogue as a table and its sources."""
    catalogue = sdss_folder / "catalogue.csv"
    return sdss_field, Table.read(catalogue), on_field(read_catalogue(catalogue), sdss_field)


def on_field(catalogue, field):
    return sources_on_field(catalogue, field.shape, wcs=field.wcs, pixel_scale=field.pixel_scale)


def same(a, b):
    columns = ("x", "y", "xyxy", "galaxy", "magnitude", "ignore", "radius")
    return all(np.array_equal(*(np.asarray(getattr(s, k), float) for s in (a, b)), equal_nan=True) for k in columns)


def with_sky_angles(table, wcs):
    """Table whose angles are on the sky, by astropy, instead of on the pixels."""
    out = table.copy()
    x, y = wcs.world_to_pixel_values(table["ra"], table["dec"])
    theta = np.radians(table["theta_deg"])
    here = SkyCoord(*wcs.pixel_to_world_values(x, y), unit="deg")
    there = SkyCoord(*wcs.pixel_to_world_values(x + np.cos(theta), y + np.sin(theta)), unit="deg")
    out["position_angle_deg"] = here.position_angle(there).deg
    out.remove_column("theta_deg")
    return out


# ---- by UCD and by the user's word


@pytest.mark.parametrize("ending", ["vot", "ecsv", "fits"])
def test_columns_whose_names_say_nothing_are_found_by_their_ucds(real, tmp_path, ending):
    field, table, expected = real
    told = with_sky_angles(table, field.wcs)[[*UCDS, "ignore"]]
    for i, (name, ucd) in enumerate(UCDS.items()):
        told[name].meta["ucd"] = ucd
        told.rename_column(name, f"column{i}")
    path = tmp_path / f"c.{ending}"
    told.write(path, format={"vot": "votable"}.get(ending))
    found = on_field(read_catalogue(path), field)
    assert np.abs(found.xyxy - expected.xyxy).max() < 1e-4
    for name in ("x", "y", "galaxy", "magnitude", "ignore", "radius"):
        assert np.array_equal(getattr(found, name), getattr(expected, name), equal_nan=name == "magnitude")
    assert found.rows["objid"].tolist() == table["objID"].tolist()


def test_ucds_in_the_header_of_a_fits_table_count(real, tmp_path):
    field, table, expected = real
    path = tmp_path / "c.fits"
    table[["ra", "dec", "petroRad_r"]].write(path)
    with fits.open(path, mode="update") as hdus:
        for i, (name, ucd) in enumerate((("A", "pos.eq.ra"), ("D", "pos.eq.dec"), ("S", "phys.angSize")), 1):
            hdus[1].header[f"TTYPE{i}"] = name
            hdus[1].header[f"TUCD{i}"] = ucd
    assert np.array_equal(on_field(read_catalogue(path), field).radius, expected.radius)


def test_columns_are_those_the_user_names(real):
    field, table, expected = real
    names = {"ra": "lon", "dec": "lat", "radius": "size", "type": "kind", "modelMag_r": "m", "axis_ratio": "flat"}
    names |= {"theta_deg": "turn", "ignore": "bad", "objid": "which"}
    theirs = table.copy()
    for ours, own in names.items():
        theirs.rename_column({"radius": "petroRad_r", "objid": "objID"}.get(ours, ours), own)
    catalogue = as_catalogue(theirs, name="mine", columns=names)
    assert same(on_field(catalogue, field), expected)
    assert catalogue.rows["objid"].tolist() == table["objID"].tolist()
    assert "nothing says of what kind" in note(catalogue, "radius")


def test_the_users_word_comes_before_a_name(real):
    field, table, _ = real
    theirs = table.copy()
    theirs["wrong"], theirs["ra"] = table["ra"], table["ra"] + 1
    found = on_field(as_catalogue(theirs, name="mine", columns={"ra": "WRONG", "dec": "dec"}), field)
    assert len(found) == len(table)


def test_a_column_that_is_not_there_is_an_error():
    with pytest.raises(InputError, match=r"^mine: no column Rpet for radius; it has ra, dec, r50$"):
        made(r50=[1.0, 2.0], columns={"radius": "Rpet"})


def test_the_main_one_of_two_ucds_is_meant_and_two_equals_are_an_error():
    table = Table({"a": [150.0], "b": [2.0], "c": [151.0], "d": [3.0], "petroRad_r": [1.0]})
    for name, ucd in zip(
        "abcd", ("pos.eq.ra", "pos.eq.dec", "pos.eq.ra;meta.main", "pos.eq.dec;meta.main"), strict=True
    ):
        table[name].meta["ucd"] = ucd
    rows = as_catalogue(table, name="mine").rows
    assert (rows["ra"][0], rows["dec"][0]) == (151, 3)
    table["c"].meta["ucd"] = "pos.eq.ra"
    with pytest.raises(InputError, match=r"^mine: ra could be a or c; say which: --columns ra=a$"):
        as_catalogue(table, name="mine")


def test_an_error_of_a_quantity_is_not_the_quantity():
    table = Table({"a": [150.0], "b": [2.0], "e": [0.1], "petroRad_r": [1.0]})
    for name, ucd in zip("abe", ("pos.eq.ra", "pos.eq.dec", "pos.eq.ra;stat.error"), strict=True):
        table[name].meta["ucd"] = ucd
    assert as_catalogue(table, name="mine").rows["ra"][0] == 150


def test_two_radii_of_one_kind_are_an_error_and_of_two_kinds_are_not():
    table = Table({"ra": [150.0], "dec": [2.0], "s1": [1.0], "s2": [3.0]})
    table["s1"].meta["ucd"] = table["s2"].meta["ucd"] = "phys.angSize"
    with pytest.raises(InputError, match="mine: radius could be s1 or s2"):
        as_catalogue(table, name="mine")
    table["s1"].description = "Radius that holds 50% of the light"
    assert as_catalogue(table, name="mine").rows["petroRad_r"][0] == 3
    assert as_catalogue(table, name="mine", radius="half-light").rows["petroRad_r"][0] == pytest.approx(2.2)


@pytest.mark.parametrize("text", ["ra", "=x", "ra=", "ra=a,ra=b", "size=a", "ra=a", "x=a"])
def test_a_mapping_that_makes_no_sense_is_a_usage_error(text):
    with pytest.raises(UsageError) as caught:
        parse_columns(text)
    assert "\n" not in str(caught.value)


def test_a_mapping_is_read_as_it_stands():
    assert parse_columns("ra=RAJ2000, dec = DEJ2000 ,radius=Rpet") == {
        "ra": "RAJ2000",
        "dec": "DEJ2000",
        "radius": "Rpet",
    }
    assert parse_columns("") == {}


# ---- positions


@pytest.mark.parametrize(
    ("names", "frame"),
    [(("RA_ICRS", "DE_ICRS"), "icrs"), (("ALPHA_J2000", "DELTA_J2000"), "icrs"), (("raMean", "decMean"), "icrs"),
     (("_RAJ2000", "_DEJ2000"), "fk5"), (("GLON", "GLAT"), "galactic"), (("RAB1950", "DEB1950"), "fk4")],
)  # fmt: skip
def test_positions_of_every_system_become_icrs(names, frame):
    here = SkyCoord([150.0, 210.5], [2.0, -30.25], unit="deg")
    there = here.transform_to(frame)
    lon, lat = (there.l, there.b) if frame == "galactic" else (there.ra, there.dec)
    rows = made(**{names[0]: lon.deg, names[1]: lat.deg, "petroRad_r": [1.0, 2.0], "x": [1.0, 2.0]}).rows
    assert SkyCoord(rows["ra"], rows["dec"], unit="deg").separation(here).arcsec.max() < 1e-6


def test_the_system_that_a_votable_tells_counts(tmp_path):
    here = SkyCoord([150.0], [2.0], unit="deg").transform_to(FK5())
    rows = f"<TR><TD>{float(here.ra.deg[0])!r}</TD><TD>{float(here.dec.deg[0])!r}</TD><TD>2</TD></TR>"
    content = """<?xml version="1.0"?><VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE>
    <COOSYS ID="J2000" system="eq_FK5" equinox="{equinox}"/><TABLE>
    <FIELD name="RAJ2000" ref="J2000" datatype="double" unit="deg"/>
    <FIELD name="DEJ2000" ref="J2000" datatype="double" unit="deg"/>
    <FIELD name="petroRad_r" datatype="double" unit="arcsec"/>
    <DATA><TABLEDATA>{rows}</TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>"""
    path = tmp_path / "c.vot"
    path.write_text(content.format(equinox="J2000", rows=rows))
    catalogue = read_catalogue(path)
    assert catalogue.rows["ra"][0] == pytest.approx(150, abs=1e-9)
    assert "eq_FK5 turned to the ICRS" in note(catalogue, "position")
    path.write_text(content.format(equinox="J1975", rows=rows))
    with pytest.raises(InputError, match=r"are in eq_FK5 J1975, which is not a system that is understood"):
        read_catalogue(path)


def test_sexagesimal_positions_are_hours_and_degrees():
    here = SkyCoord(["10h23m01.5s", "00h00m59.9s"], ["-02d30m00.5s", "+89d59m59s"])
    texts = {"_RA": ["10 23 01.5", "00:00:59.9"], "_DE": ["-02 30 00.5", "+89:59:59"]}
    rows = made(**texts, petroRad_r=[1.0, 1.0], x=[0.0, 0.0]).rows
    assert SkyCoord(rows["ra"], rows["dec"], unit="deg").separation(here).arcsec.max() < 1e-6
    table = Table({"RAJ2000": ["150 30 00", ""], "DEJ2000": ["02 00 00", ""], "petroRad_r": [1.0, 1.0]})
    table["RAJ2000"].unit = table["DEJ2000"].unit = '"d:m:s"'
    rows = as_catalogue(table, name="mine").rows
    assert rows["ra"][0] == 150.5
    assert np.isnan(rows["ra"][1])


def test_numbers_written_as_text_are_no_hours():
    assert made(ra=["150.5", "150.6"], dec=["2", "3"], petroRad_r=[1.0, 1.0]).rows["ra"].tolist() == [150.5, 150.6]


@pytest.mark.parametrize(("unit", "value"), [("rad", np.pi), ("hourangle", 12.0), ("h", 12.0), ("arcmin", 10800.0)])
def test_positions_are_converted_from_their_unit(unit, value):
    table = Table({"ra": [value], "dec": [0.0], "petroRad_r": [1.0]})
    table["ra"].unit = unit
    assert as_catalogue(table, name="mine").rows["ra"][0] == pytest.approx(180)


@pytest.mark.parametrize(
    ("names", "shift"),
    [(("x", "y"), 0), (("X_IMAGE", "Y_IMAGE"), -1), (("xcentroid", "ycentroid"), 0), (("colc", "rowc"), -0.5)],
)
def test_pixels_are_counted_from_0_at_the_middle_of_the_first(names, shift):
    rows = made(**{names[0]: [10.0, 20.0], names[1]: [30.0, 40.0], "ra": [1.0, 1.0], "petroRad_r": [1.0, 1.0]}).rows
    assert rows["x"].tolist() == [10 + shift, 20 + shift]
    assert rows["y"].tolist() == [30 + shift, 40 + shift]


# ---- radii


def sersic(n):
    """Flux within r, of all, and brightness at r, in half-light radii (Graham & Driver 2005, section 2)."""
    b = gammaincinv(2 * n, 0.5)
    return (lambda r: gammainc(2 * n, b * r ** (1 / n))), (lambda r: np.exp(-b * r ** (1 / n)))


def petrosian(n):
    """Petrosian radius in half-light radii."""
    within, _ = sersic(n)
    ratio = lambda r: (within(1.25 * r) - within(0.8 * r)) / (1.25**2 - 0.8**2) / within(r)  # noqa: E731 -- a formula
    return brentq(lambda r: ratio(r) - 0.2, 0.5, 8)


def test_the_factors_are_those_of_an_exponential_and_near_those_of_a_de_vaucouleurs_profile():
    within, bright = sersic(1)
    first_moment = quad(lambda r: r**2 * bright(r), 0, np.inf)[0] / quad(lambda r: r * bright(r), 0, np.inf)[0]
    assert petrosian(1) / (KRON_APERTURE * first_moment) == pytest.approx(FROM_KRON, rel=0.01)
    assert petrosian(1) == pytest.approx(FROM_FITTED_HALF, rel=0.06)
    assert petrosian(4) == pytest.approx(FROM_FITTED_HALF, rel=0.15)
    for n, far in ((1, 0.05), (4, 0.1)):
        within, _ = sersic(n)
        half = brentq(lambda r: within(r) - within(2 * petrosian(n)) / 2, 0.1, 5)  # noqa: B023 -- used here
        assert petrosian(n) / half == pytest.approx(FROM_HALF, rel=far)


@pytest.mark.parametrize("n", [1, 4])
def test_the_radii_of_a_profile_are_those_measured_on_its_image(n):
    y, x = np.indices((801, 801)) - 400
    within, bright = sersic(n)
    growth = Growth(bright(np.maximum(np.hypot(x, y), 0.2) / 40))  # the middle pixel is no point
    assert growth.petrosian_radius() == pytest.approx(40 * petrosian(n), rel=0.02)
    half = brentq(lambda r: within(r) - within(2 * petrosian(n)) / 2, 0.1, 5)
    assert growth.light_radius(0.5, growth.petrosian_radius()) == pytest.approx(40 * half, rel=0.03)


@pytest.mark.parametrize(
    ("columns", "kind", "arcsec"),
    [
        ({"petroRad_r": [2.0, 3.0]}, "petrosian", 2),
        ({"petroRad_r": [2.0, 3.0], "petroR50_r": [1.0, 1.0], "rKronRad": [1.0, 1.0]}, "petrosian", 2),
        ({"petroRad_r": [-9999.0, -9999.0], "petroR50_r": [1.0, 1.0]}, "half-light", 2.2),
        ({"rKronRad": [1.0, 1.0], "petroR50_r": [1.0, 1.0]}, "kron", 0.71 * 2.5),
        ({"KRON_RADIUS": [3.5, 3.5], "A_WORLD": [1 / 3600, 1.0], "A_IMAGE": [3.0, 3.0]}, "kron", 0.71 * 3.5),
        ({"PETRO_RADIUS": [3.5, 3.5], "A_WORLD": [1 / 3600, 1.0]}, "petrosian", 1.75),
        ({"shape_r": [1.0, 2.0]}, "half-light", 2.0),
        ({"re": [1.0, 2.0]}, "half-light", 2.0),
        ({"expRad_r": [1.0, 1.0], "deVRad_r": [3.0, 3.0], "fracDeV_r": [0.2, 0.9]}, "half-light", 2.0),
        ({"radius": [1.5, 2.0]}, "petrosian", 1.5),
    ],
)
def test_the_best_radius_there_is_is_brought_to_the_petrosian_one(columns, kind, arcsec):
    table = Table({"ra": [150.0, 150.01], "dec": [2.0, 2.01], **columns})
    catalogue = as_catalogue(table, name="mine")
    assert catalogue.radius_kind == kind
    assert catalogue.rows["petroRad_r"][0] == pytest.approx(arcsec)


def test_the_likelier_of_sdss_profiles_is_taken():
    columns = {"expRad_r": [1.0, 1.0], "deVRad_r": [3.0, 3.0], "expAB_r": [0.5, 0.5], "deVAB_r": [0.9, 0.9]}
    columns |= {"expPhi_r": [10.0, 10.0], "deVPhi_r": [70.0, 70.0]}
    for weights in ({"fracDeV_r": [0.2, 0.9]}, {"lnLExp_r": [-1.0, -9.0], "lnLDeV_r": [-5.0, -2.0]}):
        rows = made(**columns, **weights).rows
        assert rows["petroRad_r"].tolist() == [2, 6]
        assert rows["axis_ratio"].tolist() == [0.5, 0.9]
        assert rows["position_angle_deg"].tolist() == [10, 70]


def test_a_kind_of_radius_can_be_forced():
    columns = {"petroRad_r": [2.0, 3.0], "petroR50_r": [1.0, 1.0]}
    forced = made(**columns, radius="half-light")
    assert forced.radius_kind == "half-light"
    assert forced.rows["petroRad_r"].tolist() == pytest.approx([2.2, 2.2])
    fixed = made(**columns, radius="fixed:3.0")
    assert fixed.radius_kind == "fixed"
    assert fixed.rows["petroRad_r"].tolist() == [3, 3]
    with pytest.raises(InputError, match="mine: no column for a kron radius; it has ra, dec, petroRad_r"):
        made(**columns, radius="kron")


@pytest.mark.parametrize("radius", ["fixed", "fixed:", "fixed:-1", "fixed:x", "fixed:nan", "isophotal", "kron:2"])
def test_a_radius_that_makes_no_sense_is_a_usage_error(radius):
    with pytest.raises(UsageError, match="--radius"):
        made(petroRad_r=[1.0, 1.0], radius=radius)


@pytest.mark.parametrize(
    ("unit", "arcsec"), [("arcsec", 2), ("arcmin", 120), ("deg", 7200), ("mas", 2e-3), ("Arcsec", 2)]
)
def test_radii_are_converted_from_their_unit(unit, arcsec):
    table = Table({"ra": [150.0], "dec": [2.0], "petroRad_r": [2.0]})
    table["petroRad_r"].unit = unit
    catalogue = as_catalogue(table, name="mine")
    assert catalogue.rows["petroRad_r"][0] == pytest.approx(arcsec)
    assert "no unit" not in note(catalogue, "radius")


def test_a_radius_without_a_unit_is_in_arcsec_and_a_note_says_so():
    assert "no unit given: arcsec" in note(made(petroRad_r=[1.0, 2.0]), "radius")


@pytest.mark.parametrize("unit", ["mag", "furlongs per fortnight", "[0.1arcmin]"])
def test_a_radius_in_no_unit_of_angle_is_an_error(unit):
    table = Table({"ra": [150.0], "dec": [2.0], "petroRad_r": [2.0]})
    table["petroRad_r"].unit = u.Unit(unit, parse_strict="silent")
    with pytest.raises(InputError, match="mine: column petroRad_r is in"):
        as_catalogue(table, name="mine")


def test_a_diameter_is_halved():
    table = Table({"ra": [150.0], "dec": [2.0], "D": [4.0]})
    table["D"].meta["ucd"], table["D"].description = "phys.angSize", "Major diameter"
    assert as_catalogue(table, name="mine").rows["petroRad_r"][0] == 2


def test_radii_in_pixels_are_scaled_by_the_catalogues_own_positions(make_wcs):
    """A catalogue made on pixels half as large as the field's."""
    fine, coarse = make_wcs((200, 240), scale=0.2), make_wcs(SHAPE, scale=0.4)
    x, y = np.array([20.0, 100.0, 180.0, 60.0]), np.array([30.0, 90.0, 150.0, 170.0])
    ra, dec = fine.pixel_to_world_values(x, y)
    table = Table(
        {"X_IMAGE": x + 1, "Y_IMAGE": y + 1, "ALPHA_J2000": ra, "DELTA_J2000": dec, "FLUX_RADIUS": [10.0] * 4}
    )
    catalogue = as_catalogue(table, name="mine")
    assert "0.2 arcsec a pixel" in note(catalogue, "radius")
    assert sources_on_field(catalogue, SHAPE, wcs=coarse, pixel_scale=0.4).radius == pytest.approx(11)
    bare = as_catalogue(table[["X_IMAGE", "Y_IMAGE", "FLUX_RADIUS"]], name="mine")
    assert sources_on_field(bare, (200, 240), wcs=None, pixel_scale=0.2).radius == pytest.approx(22)


@pytest.mark.parametrize(
    "columns",
    [
        {"axis_ratio": [0.25, 1.0]},
        {"A_IMAGE": [4.0, 2.0], "B_IMAGE": [1.0, 2.0]},
        {"ELLIPTICITY": [0.75, 0.0]},
        {"elongation": [4.0, 1.0]},
        {"b/a": [0.25, 1.0]},
        {"q": [0.25, 1.0], "Q": [3.0, 3.0]},
        {"expAB_r": [0.25, 1.0]},
    ],
)
@pytest.mark.parametrize("angle", ["theta_deg", "THETA_IMAGE", "position_angle_deg", "THETA_J2000", "PA"])
def test_axes_are_understood_whatever_they_are_told_by(columns, angle):
    rows = made(**columns, **{angle: [30.0, np.nan]}, petroRad_r=[1.0, 2.0]).rows
    assert rows["axis_ratio"].tolist() == [0.25, 1]
    ours = "theta_deg" if angle in {"theta_deg", "THETA_IMAGE"} else "position_angle_deg"
    assert rows[ours].tolist() == [30, 0]


# ---- types, magnitudes and the rest


@pytest.mark.parametrize(
    ("columns", "galaxies"),
    [
        ({"type": [3, 6]}, [True, False]),
        ({"type": ["GALAXY", "STAR"]}, [True, False]),
        ({"type": ["REX", "PSF "]}, [True, False]),
        ({"type": ["SER", "DUP"]}, [True, False]),
        ({"class": [3, 6]}, [True, False]),
        ({"class": ["GALAXY", "QSO"]}, [True, False]),
        ({"CLASS_STAR": [0.03, 0.98]}, [True, False]),
        ({"star_flag": [2, 1]}, [True, False]),
        ({"r_extendedness_value": [1.0, 0.0]}, [True, False]),
        ({"ps_score": [0.2, 0.5]}, [True, False]),
        ({"type": ["Sbc", "E3"]}, [True, True]),
        ({"phot_g_mean_mag": [17.0, 18.0]}, [False, False]),
        ({}, [True, True]),
    ],
)
def test_galaxies_are_told_from_stars_as_the_catalogue_does(columns, galaxies):
    rows = made(**columns, petroRad_r=[1.0, 2.0]).rows
    assert (rows["type"] == 3).tolist() == galaxies


def test_a_catalogue_of_stars_needs_no_radius(make_wcs):
    wcs = make_wcs(SHAPE, scale=0.4)
    ra, dec = wcs.pixel_to_world_values([20.0, 70.0], [30.0, 60.0])
    catalogue = made(ra=ra, dec=dec, source_id=[4295806720, 34361129088], phot_g_mean_mag=[17.0, 18.0])
    sources = sources_on_field(catalogue, SHAPE, wcs=wcs, pixel_scale=0.4)
    assert not sources.galaxy.any()
    assert (sources.xyxy[:, 2:] - sources.xyxy[:, :2]) == pytest.approx(8)
    assert sources.rows["objid"].tolist() == [4295806720, 34361129088]
    with pytest.raises(InputError, match="no column for a radius"):
        made(type=[3, 6])


@pytest.mark.parametrize(
    ("columns", "magnitude"),
    [
        ({"rmag": [17.0, 18.0]}, 17),
        ({"r": [17.0, 18.0], "g": [1.0, 1.0], "i": [2.0, 2.0], "z": [3.0, 3.0]}, 17),
        ({"flux_r": [100.0, 10.0]}, 17.5),
        ({"MAG_AUTO": [17.0, 99.0]}, 17),
        ({"rKronMag": [17.0, 18.0]}, 17),
        ({"mag_auto_r": [17.0, 18.0], "MAG_AUTO": [1.0, 1.0]}, 17),
        ({"ACS_F606W_FLUX": [10.0, 10.0]}, 21.4),
        ({"petroMag_r": [17.0, 18.0], "modelMag_r": [16.0, 18.0]}, 16),
        ({"modelMag_r": [-9999.0, 18.0]}, np.nan),
    ],
)
def test_the_magnitude_is_the_one_in_r_or_near_it(columns, magnitude):
    rows = made(**columns, petroRad_r=[1.0, 2.0]).rows
    assert rows["modelMag_r"][0] == pytest.approx(magnitude, nan_ok=True)
    assert not (rows["modelMag_r"] > 90).any()


@pytest.mark.parametrize("unit", ["uJy", "nanomaggy", ""])
def test_fluxes_are_converted_from_their_unit(unit):
    table = Table({"ra": [150.0], "dec": [2.0], "petroRad_r": [2.0], "flux_r": [3.631 if unit == "uJy" else 1.0]})
    table["flux_r"].unit = unit or None
    assert as_catalogue(table, name="mine").rows["modelMag_r"][0] == pytest.approx(22.5, abs=1e-3)
    table["flux_r"].unit = "km"
    with pytest.raises(InputError, match="mine: column flux_r is in km"):
        as_catalogue(table, name="mine")


def test_z_is_a_redshift_unless_it_stands_among_magnitudes():
    alone = made(z=[0.1, 0.2], zErr=[0.01, 0.01], petroRad_r=[1.0, 1.0]).rows
    assert alone["z"].tolist() == [0.1, 0.2]
    assert alone["z_err"].tolist() == [0.01, 0.01]
    among = made(u=[20.0] * 2, g=[19.0] * 2, r=[18.0] * 2, i=[17.5] * 2, z=[17.0] * 2, petroRad_r=[1.0] * 2).rows
    assert among["modelMag_z"].tolist() == [17, 17]
    assert "z" not in among


def test_votes_classes_and_what_else_there_is_come_along():
    votes = {name.upper(): [0.5, 0.25] for name in ("p_el", "p_cw", "p_acw", "p_edge", "p_dk", "p_mg", "p_cs")}
    rows = made(
        **votes, petroRad_r=[1.0, 2.0], petroR90_r=[3.0, 4.0], note=["a", "b"], **{"class": ["GALAXY", "STAR"]}
    ).rows
    assert rows["p_acw"].tolist() == [0.5, 0.25]
    assert rows["petroR90_r"].tolist() == [3, 4]
    assert rows["class"].tolist() == ["GALAXY", "STAR"]
    assert rows["note"].tolist() == ["a", "b"]


# ---- whole catalogues as the tools and surveys write them


@pytest.fixture(scope="module")
def measured(sdss_field):
    """A real field's r frame without its sky, and what SEP finds in it: labels, objects, radii, fluxes."""
    image = np.nan_to_num(sdss_field.bands["r"]).astype(np.float64)
    image += np.random.default_rng(0).uniform(-0.5, 0.5, image.shape) * 0.005  # the frame is quantised
    sky = sep.Background(image, mask=sdss_field.mask)
    image -= sky.back()
    found, labels = sep.extract(image, 1.5, err=sky.globalrms, mask=sdss_field.mask, segmentation_map=True)
    where = found["x"], found["y"], found["a"], found["b"], found["theta"]
    others = {"seg_id": np.arange(1, len(found) + 1), "segmap": labels}
    kron, _ = sep.kron_radius(image, *where, 6.0, mask=sdss_field.mask, **others)
    flux, _, _ = sep.sum_ellipse(image, *where, 2.5 * np.clip(kron, 1, 10), mask=sdss_field.mask)
    half, _ = sep.flux_radius(image, found["x"], found["y"], 6 * found["a"], 0.5, normflux=flux, mask=sdss_field.mask)
    return image, labels, found, kron, flux, half


@pytest.fixture(scope="module")
def sextracted(sdss_field, measured):
    """What SExtractor would write of it: pixels from 1, Kron radii of the aperture in units of A."""
    _, _, found, kron, flux, half = measured
    ra, dec = sdss_field.wcs.pixel_to_world_values(found["x"], found["y"])
    with np.errstate(invalid="ignore", divide="ignore"):
        magnitude = np.where(flux > 0, 22.5 - 2.5 * np.log10(flux), 99.0)
    return Table(
        {
            "NUMBER": np.arange(1, len(found) + 1),
            "X_IMAGE": found["x"] + 1, "Y_IMAGE": found["y"] + 1, "ALPHA_J2000": ra, "DELTA_J2000": dec,
            "A_IMAGE": found["a"], "B_IMAGE": found["b"], "THETA_IMAGE": np.degrees(found["theta"]),
            "KRON_RADIUS": 2.5 * kron, "FLUX_RADIUS": half, "MAG_AUTO": magnitude,
        }
    )  # fmt: skip


def against(reference, sources):
    """Centre offsets, IoUs and ratios of radii of bright galaxies, as far as they are found."""
    chosen = reference.select(reference.galaxy & ~reference.ignore & (reference.magnitude < 20.5))
    apart = np.hypot(chosen.x[:, None] - sources.x, chosen.y[:, None] - sources.y)
    nearest, near = apart.argmin(axis=1), apart.min(axis=1) < 2
    assert near.mean() > 0.95
    iou = iou_of_pairs(chosen.xyxy[near], sources.xyxy[nearest[near]])
    return apart.min(axis=1)[near], iou, sources.radius[nearest[near]] / chosen.radius[near]


@pytest.mark.parametrize(("radius", "least_iou"), [("kron", 0.70), ("half-light", 0.78)])
def test_a_sextractor_catalogue_lands_on_the_boxes_of_the_reference(
    sdss_field, sdss_folder, sextracted, radius, least_iou
):
    reference = on_field(read_catalogue(sdss_folder / "catalogue.csv"), sdss_field)
    offset, iou, ratio = against(reference, on_field(as_catalogue(sextracted, name="sex", radius=radius), sdss_field))
    # single galaxies scatter: both radii are measured on noise
    assert np.median(offset) < 0.4
    assert np.median(iou) > least_iou
    assert np.median(ratio) == pytest.approx(1, abs=0.1)


def test_the_kron_radius_is_taken_before_the_half_light_one(sextracted):
    catalogue = as_catalogue(sextracted, name="sex")
    assert catalogue.radius_kind == "kron"
    assert "KRON_RADIUS x A_IMAGE x 0.71" in note(catalogue, "radius")
    assert "axes: B_IMAGE / A_IMAGE; THETA_IMAGE from +x towards +y" in catalogue.notes


@pytest.mark.parametrize("ending", ["cat", "fits"])
def test_sextractors_own_files_are_read(tmp_path, sdss_field, sextracted, ending):
    path = tmp_path / f"c.{ending}"
    if ending == "cat":  # ASCII_HEAD
        head = "".join(f"# {i:3d} {name} what it is\n" for i, name in enumerate(sextracted.colnames, 1))
        path.write_text(head + "".join(" ".join(map(repr, map(float, row))) + "\n" for row in sextracted))
    else:  # FITS_LDAC
        header = Table({"Field Header Card": [["SIMPLE = T"]]})
        tables = [fits.table_to_hdu(header), fits.table_to_hdu(sextracted)]
        tables[0].name, tables[1].name = "LDAC_IMHEAD", "LDAC_OBJECTS"
        fits.HDUList([fits.PrimaryHDU(), *tables]).writeto(path)
    expected = on_field(as_catalogue(sextracted, name="sex"), sdss_field)
    assert np.abs(on_field(read_catalogue(path), sdss_field).xyxy - expected.xyxy).max() < 1e-9


def test_a_photutils_catalogue_lands_on_the_boxes_of_the_reference(tmp_path, sdss_field, sdss_folder, measured):
    image, labels = (whole[400:1000, 600:1300] for whole in measured[:2])
    wcs = sdss_field.wcs[400:1000, 600:1300]
    columns = ["label", "x_centroid", "y_centroid", "sky_centroid", "semimajor_axis", "semiminor_axis", "orientation"]
    table = SourceCatalog(image, SegmentationImage(labels), wcs=wcs).to_table(columns=[*columns, "kron_radius"])
    path = tmp_path / "c.ecsv"
    QTable(table).write(path)
    catalogue = read_catalogue(path)
    assert catalogue.radius_kind == "kron"
    reference = on_field(read_catalogue(sdss_folder / "catalogue.csv"), sdss_field)
    inside = (np.abs(reference.x - 950) < 320) & (np.abs(reference.y - 700) < 270)
    offset, iou, ratio = against(reference.select(inside), on_field(catalogue, sdss_field))
    assert np.median(offset) < 0.4
    assert np.median(iou) > 0.68
    assert np.median(ratio) == pytest.approx(1, abs=0.15)


def test_a_tractor_catalogue_of_the_legacy_surveys_is_understood(make_wcs):
    wcs = make_wcs(SHAPE, scale=0.4)
    ra, dec = wcs.pixel_to_world_values([20.0, 70.0, 100.0], [30.0, 60.0, 80.0])
    # b/a = (1 - e) / (1 + e) = 1/2 at 30 degrees east of north
    e = 1 / 3
    columns = {"type": ["PSF", "EXP", "REX"], "ra": ra, "dec": dec, "flux_r": [10.0, 100.0, 5.0], "objid": [0, 1, 2]}
    columns |= {
        "shape_r": [0.0, 4.0, 2.0],
        "shape_e1": [0, e * np.cos(np.pi / 3), 0],
        "shape_e2": [0, e * np.sin(np.pi / 3), 0],
    }
    catalogue = as_catalogue(Table(columns), name="tractor")
    sources = sources_on_field(catalogue, SHAPE, wcs=wcs, pixel_scale=0.4)
    assert sources.galaxy.tolist() == [False, True, True]
    assert sources.magnitude.tolist() == pytest.approx([20, 17.5, 22.5 - 2.5 * np.log10(5)])
    assert sources.radius.tolist() == pytest.approx([0, 20, 10])
    # north is +y and east -x: the axis is 120 degrees from +x
    turn = np.radians(120)
    half_x = np.hypot(21.0 * np.cos(turn), 10.5 * np.sin(turn))
    half_y = np.hypot(21.0 * np.sin(turn), 10.5 * np.cos(turn))
    assert sources.xyxy[1] == pytest.approx([70 - half_x, 60 - half_y, 70 + half_x, 60 + half_y], abs=1e-3)


def test_tables_of_sdss_with_five_bands_a_row_are_spread_out(tmp_path):
    table = Table(
        {
            "OBJID": ["1237648720693755919", "1237648720693755920"], "OBJC_TYPE": [3, 6],
            "RA": [150.0, 150.01], "DEC": [2.0, 2.01],
            "PETROTHETA": np.arange(10.0).reshape(2, 5), "MODELFLUX": np.full((2, 5), 100.0),
            "PROFMEAN": np.zeros((2, 5, 15)),
        }
    )  # fmt: skip
    path = tmp_path / "photoObj.fits"
    table.write(path)
    catalogue = read_catalogue(path)
    assert catalogue.rows["petroRad_r"].tolist() == [2, 7]
    assert catalogue.rows["modelMag_r"].tolist() == [17.5, 17.5]
    assert catalogue.rows["type"].tolist() == [3, 6]
    assert catalogue.rows["objid"].tolist() == [1237648720693755919, 1237648720693755920]
    assert any("PROFMEAN" in text for text in catalogue.notes)


def test_a_csv_of_skyserver_begins_with_the_name_of_its_table(tmp_path):
    path = tmp_path / "c.csv"
    path.write_text("#Table1\nobjid,ra,dec,petroRad_r\n1237648720693755919,150.0,2.0,3.5\n")
    assert read_catalogue(path).rows["objid"][0] == 1237648720693755919


def test_one_of_several_tables_in_a_fits_file_can_be_named(tmp_path):
    path = tmp_path / "c.fits"
    tables = [fits.table_to_hdu(Table({"ra": [150.0 + i], "dec": [2.0], "petroRad_r": [1.0]})) for i in range(2)]
    tables[0].name, tables[1].name = "NEAR", "FAR"
    fits.HDUList([fits.PrimaryHDU(), *tables]).writeto(path)
    with pytest.raises(InputError, match=r"c\.fits: holds 2 tables \(1: NEAR, 2: FAR\); name one, as in c\.fits\[1\]"):
        read_catalogue(path)
    assert read_catalogue(tmp_path / "c.fits[FAR]").rows["ra"][0] == 151
    assert read_catalogue(tmp_path / "c.fits[1]").rows["ra"][0] == 150


def test_everything_taken_is_noted(real):
    _, table, _ = real
    catalogue = as_catalogue(table, name="mine")
    assert note(catalogue, "position") == "ra, dec (deg)"
    assert note(catalogue, "radius") == "petrosian, petroRad_r (no unit given: arcsec)"
    assert note(catalogue, "axes") == "axis_ratio; theta_deg from +x towards +y"
    assert note(catalogue, "type") == "type"
    assert note(catalogue, "magnitude") == "modelMag_r"
    assert isinstance(catalogue.rows, pd.DataFrame)


offsets = st.lists(st.tuples(st.floats(0, 0.01), st.floats(0, 0.01)), max_size=8)


@given(offsets, offsets)
def test_a_row_of_another_table_goes_to_the_nearest_object_and_the_nearest_row_stays(here, there):
    one, other = (SkyCoord([10 + x for x, _ in places], [y for _, y in places], unit="deg") for places in (here, there))
    found = nearest_rows(one, other, 5.0)
    assert found.shape == (len(here),)
    if not here or not there:
        assert (found == -1).all()
        return
    apart = one[:, None].separation(other[None]).arcsec
    owner = apart.argmin(axis=0)
    for i, row in enumerate(found):
        near = [apart[i, k] for k in range(len(there)) if owner[k] == i and apart[i, k] <= 5.0]
        # of objects at one place any may be the nearest
        if row >= 0:
            assert apart[i, row] == pytest.approx(apart[:, row].min(), abs=1e-6)
            assert apart[i, row] <= min([5.0, *near]) + 1e-6
        elif near:
            assert min(abs(apart[i] - apart[j]).min() for j in range(len(here)) if j != i) < 1e-6

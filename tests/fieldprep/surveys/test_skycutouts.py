import numpy as np
import pytest
from cutout_services import FILENAMES, FITSCUT, HIPS, LEGACY, MOC, Sky
from hypothesis import given
from hypothesis import strategies as st
from misbehaving import meets
from scipy.ndimage import gaussian_filter
from sky_fixtures import COLOUR, PS1, at

from fieldprep import Field
from fieldprep.errors import InputError, UsageError
from fieldprep.surveys.download import NotThereError
from fieldprep.surveys.services import conf
from fieldprep.surveys.skycutouts import HipsCutout, LegacyCutout, PanstarrsCutout, parse_cutout
from fieldprep.surveys.skygrid import Cell, Grid


def fetched(text, folder):
    (one,) = parse_cutout(text)
    (path,) = one.fetch(folder)
    assert [left.name for left in folder.iterdir()] == [path.name]
    return Field.read(path)


def refusal(text, folder, kind=InputError):
    """The one line by which fetching is refused."""
    with pytest.raises(kind) as caught:
        fetched(text, folder)
    line = str(caught.value)
    assert "\n" not in line
    assert not list(folder.glob("*.fits"))
    return line


def grid_of(field, text):
    (one,) = parse_cutout(text)
    return Grid.of_size(one.ra, one.dec, one.size_deg, field.pixel_scale, what=text)


def test_three_hips_are_three_bands_on_the_grid_asked_for(hips, sdss_skies, here, tmp_path):
    field = fetched(f"{COLOUR}{here} 1arcmin", tmp_path)
    assert list(field.bands) == ["g", "r", "i"]
    assert field.shape == (299, 299)
    assert field.pixel_scale == pytest.approx(58.63230142835 * 3600 / 2**11 / 512, rel=1e-7)
    assert field.survey == PS1
    assert not field.mask.any()
    grid = grid_of(field, f"{COLOUR}{here} 1arcmin")
    assert grid.offset_px(field.wcs, Cell(0, 0, 299, 299)) < 1e-6
    for band, image in field.bands.items():
        assert image == pytest.approx(sdss_skies[f"{PS1}/{band}"].on(grid.wcs(), grid.shape), abs=1e-5)


def test_one_hips_is_a_gray_field(hips, here, tmp_path):
    assert list(fetched(f"hips:{PS1}/r@{here} 30arcsec", tmp_path).bands) == ["r"]


def test_hips_whose_names_tell_no_wavelength_keep_the_order_red_green_blue(hips, sdss_skies, here, tmp_path):
    hips.skies = {f"CDS/P/X/{name}": sky for name, sky in zip(("hot", "mid", "cold"), sdss_skies.values(), strict=True)}
    field = fetched(f"hips:CDS/P/X/hot,CDS/P/X/mid,CDS/P/X/cold@{here} 20arcsec", tmp_path)
    assert list(field.bands) == ["cold", "mid", "hot"]


@pytest.mark.parametrize("clip", [70, 120])
def test_a_clipped_hips_is_noticed_and_put_together_of_pieces_that_leave_no_seam(hips, here, tmp_path, clip):
    text = f"{COLOUR}{here} 40arcsec"
    whole = fetched(text, tmp_path / "whole")
    asked = hips.server.asked[HIPS]
    hips.clip = clip
    tiled = fetched(text, tmp_path / "tiled")
    assert hips.server.asked[HIPS] == asked + 3 + 3 * (-(-199 // clip)) ** 2
    for band, image in whole.bands.items():
        assert image == pytest.approx(tiled.bands[band], abs=1e-6)
    x, y = np.mgrid[0:199:50, 0:199:50]
    assert np.array_equal(whole.wcs.pixel_to_world_values(x, y), tiled.wcs.pixel_to_world_values(x, y))


def test_the_cells_of_a_grid_are_its_own_pixels(hips, sdss_skies, here):
    ra, dec = map(float, here.split())
    grid = Grid.of_size(ra, dec, 1 / 60, 0.2, what="a")
    cells = grid.cells(70)
    covered = np.zeros(grid.shape, int)
    for cell in cells:
        covered[cell.slices] += 1
        x, y = np.mgrid[0 : cell.nx : 9, 0 : cell.ny : 9]
        sky = grid.wcs(cell).pixel_to_world_values(x, y)
        back = grid.wcs().world_to_pixel_values(*sky)
        assert np.abs(np.subtract(back, (x + cell.x0, y + cell.y0))).max() < 1e-6
    assert (covered == 1).all()
    assert len(cells) == 25


@given(side=st.integers(2, 3000), largest=st.integers(64, 4096))
def test_cells_cover_any_grid_once_and_are_no_larger_than_wanted(side, largest):
    grid = Grid(10.0, -20.0, 0.25, side)
    covered = np.zeros(side, int)
    for cell in grid.cells(largest):
        assert 1 <= cell.nx <= largest
        if cell.y0 == 0:
            covered[cell.x0 : cell.x0 + cell.nx] += 1
    assert (covered == 1).all()


@given(ra=st.floats(0, 359.99), dec=st.floats(-89, 89), arcsec=st.integers(1, 20000))
def test_the_source_of_a_cutout_stands_for_it(ra, dec, arcsec):
    (one,) = parse_cutout(LegacyCutout(ra, dec, arcsec / 3600).source)
    assert one.source == LegacyCutout(ra, dec, arcsec / 3600).source
    assert (one.ra, one.dec) == pytest.approx((ra, dec), abs=1e-6)
    assert one.size_deg == pytest.approx(arcsec / 3600, rel=1e-9)


def test_an_unknown_hips_is_refused(hips, here, tmp_path):
    line = refusal(f"hips:CDS/P/None@{here} 1arcmin", tmp_path, NotThereError)
    assert "CDS/P/None" in line
    assert "no HiPS of that name" in line
    assert not hips.server.asked[HIPS]


def test_a_hips_of_pictures_is_refused(hips, here, tmp_path):
    hips.formats[f"{PS1}/r"] = "jpeg"
    line = refusal(f"hips:{PS1}/r@{here} 1arcmin", tmp_path)
    assert "pictures only (jpeg)" in line
    assert "one band" in line


def test_a_hips_of_colours_is_refused(hips, sdss_skies, here, tmp_path):
    hips.skies["CDS/P/color"] = sdss_skies[f"{PS1}/r"]
    hips.colours.add("CDS/P/color")
    assert "colours, no fluxes" in refusal(f"hips:CDS/P/color@{here} 20arcsec", tmp_path)


def test_a_place_without_data_is_refused(hips, tmp_path):
    assert "no image there" in refusal(f"hips:{PS1}/r@10 -20 20arcsec", tmp_path)


def test_a_piece_of_other_sky_is_refused(hips, here, tmp_path):
    hips.shift = 0.5
    assert "another piece of sky" in refusal(f"hips:{PS1}/r@{here} 20arcsec", tmp_path)


def test_a_service_that_gives_next_to_nothing_is_refused(hips, here, tmp_path):
    hips.clip = 20
    assert "only 20 px on a side" in refusal(f"hips:{PS1}/r@{here} 20arcsec", tmp_path)


def test_a_cutout_beyond_all_bounds_is_refused(hips, here, tmp_path):
    line = refusal(f"hips:{PS1}/r@{here} 5deg", tmp_path)
    assert "89420 px" in line
    assert "10000" in line


def test_a_legacy_cutout_brings_its_bands_and_their_noise(legacy, tmp_path):
    text = "legacy:59.1067 -30.4848 40arcsec"
    field = fetched(text, tmp_path)
    assert field.survey == "LegacySurvey"
    assert list(field.bands) == ["g", "r", "z"] == list(field.noise)
    assert field.pixel_scale == pytest.approx(0.262, rel=1e-6)
    assert "no image in band i" in field.notes[0]
    grid = grid_of(field, text)
    assert field.shape == grid.shape == (153, 153)
    assert grid.offset_px(field.wcs, Cell(0, 0, 153, 153)) < 1e-6
    for band, image in field.bands.items():
        weight = legacy.weights[band].on(grid.wcs(), grid.shape, order=0)
        good = weight > 0
        assert image[good] == pytest.approx(legacy.skies[band].on(grid.wcs(), grid.shape)[good], abs=1e-6)
        assert field.noise[band][good] == pytest.approx(weight[good] ** -0.5, rel=1e-5)
        assert field.mask[~good].all()


def test_one_band_of_the_legacy_surveys_is_a_gray_field(legacy, tmp_path):
    with conf.set_temp("legacy_bands", "r"):
        field = fetched("legacy:59.1067 -30.4848 30arcsec", tmp_path)
    assert list(field.bands) == ["r"] == list(field.noise)
    assert field.notes == []


def test_a_clipped_legacy_cutout_is_noticed_and_put_together_without_a_seam(legacy, tmp_path):
    # each piece lies on a plane of its own, so that it is resampled; a sky without pixel noise shows how well
    legacy.skies = {
        band: Sky(gaussian_filter(sky.image, 1.5), sky.wcs) for band, sky in legacy.skies.items() if band in "grz"
    }
    text = "legacy:59.1067 -30.4848 40arcsec"
    whole = fetched(text, tmp_path / "whole")
    asked = legacy.server.asked[LEGACY]
    legacy.clip = 96
    tiled = fetched(text, tmp_path / "tiled")
    assert legacy.server.asked[LEGACY] == asked + 1 + 4
    x, y = np.mgrid[0:153:50, 0:153:50]
    assert np.array_equal(whole.wcs.pixel_to_world_values(x, y), tiled.wcs.pixel_to_world_values(x, y))
    seam = np.zeros(whole.shape, bool)
    seam[74:80], seam[:, 74:80] = True, True
    for band, image in whole.bands.items():
        good = ~whole.mask & ~tiled.mask
        assert good.mean() > 0.98
        difference = np.abs(tiled.bands[band] - image) / whole.noise[band]
        assert difference[good].max() < 0.05
        assert difference[good & seam].mean() < 0.005


def test_a_place_outside_the_legacy_surveys_is_refused(legacy, tmp_path):
    assert "may not cover" in refusal("legacy:200 +80 20arcsec", tmp_path)


def test_a_panstarrs_cutout_is_the_stack_itself(panstarrs, tmp_path):
    place = at(panstarrs.stacks["r"][1], 220, 200)
    field = fetched(f"ps1:{place} 50arcsec", tmp_path)
    assert list(field.bands) == ["g", "r", "i"]
    assert field.survey == "Pan-STARRS1"
    assert field.shape == (200, 200)
    assert field.notes == []
    assert not field.mask.any()
    for band, image in field.bands.items():
        assert np.array_equal(image, panstarrs.stacks[band][0][100:300, 120:320])
    truth = panstarrs.stacks["r"][1].pixel_to_world_values([120, 319], [100, 299])
    assert field.wcs.world_to_pixel_values(*truth) == pytest.approx(np.array([[0, 199], [0, 199]]), abs=1e-4)


def test_what_reaches_over_the_sky_cells_edge_is_blank_and_noted(panstarrs, tmp_path):
    place = at(panstarrs.stacks["r"][1], 50, 200)
    field = fetched(f"ps1:{place} 50arcsec", tmp_path)
    assert field.mask[:, :50].all()
    assert not field.mask[:, 50:].any()
    assert len(field.notes) == 1
    assert "blank pixels: g 25.0 %, r 25.0 %, i 25.0 %" in field.notes[0]


def test_a_band_that_panstarrs_lacks_is_noted(panstarrs, tmp_path):
    del panstarrs.stacks["i"]
    field = fetched(f"ps1:{at(panstarrs.stacks['r'][1], 220, 200)} 30arcsec", tmp_path)
    assert list(field.bands) == ["g", "r"]
    assert "no image in band i" in field.notes[0]


def test_a_clipped_panstarrs_cutout_is_refused(panstarrs, tmp_path):
    panstarrs.clip = 100
    line = refusal(f"ps1:{at(panstarrs.stacks['r'][1], 220, 200)} 50arcsec", tmp_path)
    assert "100 x 100 px of the 200 asked for" in line


def test_too_large_a_panstarrs_cutout_is_refused_with_the_way_out(panstarrs, tmp_path):
    line = refusal("ps1:215.5 +52.5 30arcmin", tmp_path)
    assert "6000" in line
    assert "hips:" in line
    assert not panstarrs.server.asked


def test_outside_panstarrs_is_refused(services, tmp_path):
    assert "north of -30" in refusal("ps1:59.1 -60 1arcmin", tmp_path)


@pytest.mark.parametrize("survey", ["hips", "legacy", "ps1"])
def test_what_is_there_is_not_asked_for_again(services, any_cutout, tmp_path, survey):
    (one,) = parse_cutout(any_cutout[survey])
    path = one.fetch(tmp_path)
    services.server.forget()
    assert one.fetch(tmp_path) == path
    assert not services.server.asked


PATHS = [("hips", HIPS), ("hips", MOC), ("legacy", LEGACY), ("ps1", FILENAMES), ("ps1", FITSCUT)]


@pytest.mark.parametrize("fault", ["busy", "page", "page_untold", "cut", "cut_open", "redirect"])
@pytest.mark.parametrize(("survey", "path"), PATHS)
def test_what_goes_wrong_once_is_tried_again(services, any_cutout, tmp_path, survey, path, fault):
    right = fetched(any_cutout[survey], tmp_path / "right")
    services.server.forget()
    services.server.faults = meets(path, fault, times=1)
    field = fetched(any_cutout[survey], tmp_path / "again")
    for band, image in right.bands.items():
        assert np.array_equal(field.bands[band], image, equal_nan=True)


@pytest.mark.parametrize(("survey", "path"), [("hips", HIPS), ("legacy", LEGACY), ("ps1", FITSCUT)])
def test_a_flipped_byte_is_noticed_where_there_is_a_checksum(services, any_cutout, tmp_path, survey, path):
    services.server.faults = meets(path, "flip")
    assert "hecksum" in refusal(any_cutout[survey], tmp_path)


@pytest.mark.parametrize(
    ("fault", "words"), [("busy", "503"), ("page", "web page"), ("missing", "404"), ("silence", "no answer")]
)
@pytest.mark.parametrize(("survey", "path"), PATHS)
def test_what_stays_wrong_is_one_line(services, any_cutout, tmp_path, monkeypatch, survey, path, fault, words):
    monkeypatch.setenv("FULLFIELD_TIMEOUT", "0.2")
    monkeypatch.setenv("FULLFIELD_ATTEMPTS", "2")
    services.server.faults = meets(path, fault)
    line = refusal(any_cutout[survey], tmp_path)
    assert words in line
    assert survey in line


@pytest.mark.parametrize("survey", ["hips", "legacy", "ps1"])
def test_a_service_that_locks_out_is_asked_once(services, any_cutout, tmp_path, survey):
    services.is_closed = True
    line = refusal(any_cutout[survey], tmp_path)
    assert "403" in line
    assert survey in line
    assert services.server.asked.total() == 1


def test_names_and_sources_of_cutouts():
    cases = {
        f"{COLOUR}229.54 +42.76 10arcmin": (HipsCutout, "CDS_P_PanSTARRS_DR1_i+r+g_229.54000+42.76000_10arcmin"),
        "hips:CDS/P/DSS2/red@10.68,41.27 0.1deg": (HipsCutout, "CDS_P_DSS2_red_10.68000+41.27000_6arcmin"),
        "legacy: 59.1067 -30.4848 1arcmin": (LegacyCutout, "ls-dr10_griz_59.10670-30.48480_1arcmin"),
        "PS1:15:18:09.6 +42:45:36 300arcsec": (PanstarrsCutout, "ps1_gri_229.54000+42.76000_5arcmin"),
    }
    for text, (kind, name) in cases.items():
        (one,) = parse_cutout(text)
        assert isinstance(one, kind)
        assert one.name == name
        (again,) = parse_cutout(one.source)
        assert again.source == one.source


@pytest.mark.parametrize(
    "text",
    [
        "hips:229.54 +42.76 1arcmin",
        "hips:@229.54 +42.76 1arcmin",
        "hips:a,b@229.54 +42.76 1arcmin",
        "hips:a,a,b@229.54 +42.76 1arcmin",
        "hips:a@229.54 +42.76",
        "hips:a@",
        "legacy:",
        "legacy:229.54 +42.76",
        "ps1:229.54 +42.76 5",
        "ps1:229.54 +42.76 -5arcmin",
        "dss:229.54 +42.76 5arcmin",
    ],
)
def test_nonsense_is_refused(services, text):
    with pytest.raises(UsageError) as caught:
        parse_cutout(text)
    assert "\n" not in str(caught.value)
    assert not services.server.asked


@pytest.mark.remote_data
@pytest.mark.parametrize(
    ("text", "bands"),
    [
        (f"{COLOUR}229.54 +42.76 2arcmin", ["g", "r", "i"]),
        ("legacy:59.1067 -30.4848 3arcmin", ["g", "r", "i", "z"]),
        ("ps1:229.54 +42.76 2arcmin", ["g", "r", "i"]),
    ],
)
def test_the_services_themselves(tmp_path, text, bands):
    assert list(fetched(text, tmp_path).bands) == bands

import numpy as np
import pytest

from fieldprep import Field
from fieldprep.bands import by_wavelength, clean_name, narrowest, rgb_bands, wavelength_nm
from fieldprep.errors import InputError


def field(*bands):
    return Field("a", {band: np.zeros((2, 2), np.float32) for band in bands}, np.zeros((2, 2), bool))


@pytest.mark.parametrize(
    ("given", "name"),
    [("g.MP9401", "g"), ("f105w", "F105W"), (" r ", "r"), ("F814W;CLEAR2L", "F814W"), ("Halpha 656", "Halpha_656")],
)
def test_names_are_cleaned(given, name):
    assert clean_name(given) == name


@pytest.mark.parametrize(
    ("band", "nm"),
    [
        ("F435W", 435),  # ACS
        ("F606W", 606),
        ("F850LP", 850),
        ("F105W", 1050),  # WFC3/IR
        ("F160W", 1600),
        ("F070W", 700),  # NIRCam
        ("F150W2", 1500),
        ("F200W", 2000),
        ("F212N", 2120),
        ("F277W", 2770),
        ("F380M", 3800),  # NIRISS
        ("F444W", 4440),
        ("F560W", 5600),  # MIRI
        ("F770W", 7700),
        ("F1000W", 10000),
        ("F2100W", 21000),
    ],
)
def test_hst_and_jwst_names_carry_the_wavelength(band, nm):
    assert wavelength_nm(band) == nm


@pytest.mark.parametrize(
    ("filters", "band"),
    [
        (["F150W2;F162M"], "F162M"),
        (["F444W", "F466N"], "F466N"),
        (["CLEAR1L;F814W"], "F814W"),
        (["F606W", "POL0V"], "F606W"),
        (["", "Clear", "r.MP9601"], "r"),
        (["N/A", "none"], None),
        ([], None),
    ],
)
def test_of_several_filters_the_narrowest_is_the_band(filters, band):
    assert narrowest(filters) == band


def test_bands_go_from_blue_to_red():
    assert by_wavelength("zyrugi") == list("ugrizy")
    assert by_wavelength(["F444W", "F090W", "F200W", "F770W"]) == ["F090W", "F200W", "F444W", "F770W"]
    assert by_wavelength("RGB") == ["B", "G", "R"]
    assert by_wavelength(["Ks", "H", "J"]) == ["J", "H", "Ks"]


def test_unknown_names_keep_the_given_order():
    assert by_wavelength(["r", "mine", "g"]) == ["r", "mine", "g"]


def test_sdss_shows_i_r_g_even_with_u_and_z():
    assert rgb_bands(field("u", "g", "r", "i", "z")) == ("i", "r", "g")


def test_longest_middle_and_shortest_are_shown_elsewhere():
    assert rgb_bands(field("F435W", "F606W", "F814W", "F105W", "F160W")) == ("F160W", "F814W", "F435W")
    assert rgb_bands(field("gray")) == ("gray", "gray", "gray")
    assert rgb_bands(field("F105W", "F160W")) == ("F160W", "", "F105W")
    assert rgb_bands(field("B", "G", "R")) == ("R", "G", "B")


def test_the_users_choice_wins_and_is_checked():
    assert rgb_bands(field("g", "r", "i", "z"), ["z", "r", "g"]) == ("z", "r", "g")
    for wrong in (["z", "r"], ["z", "r", "H"]):
        with pytest.raises(InputError, match=r"a: --bands needs three of this field's bands \(g, r, z\)"):
            rgb_bands(field("g", "r", "z"), wrong)

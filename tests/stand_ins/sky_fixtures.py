"""Fixtures of the services that have images of the sky, with real images on them."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from astroquery.mast import conf as mast_conf
from cutout_services import FILENAMES, HIPS, LEGACY, MOC, CutoutServices, Sky
from mast_archive import Archive, hst_mosaic

from fieldprep.fitsfile import read_planes
from fieldprep.surveys.services import conf

VISIT = "hst_11563_01_wfc3_ir_{}_ib5x01"
F105W, F160W = VISIT.format("f105w"), VISIT.format("f160w")
PS1 = "CDS/P/PanSTARRS/DR1"
COLOUR = f"hips:{PS1}/i,{PS1}/r,{PS1}/g@"


@pytest.fixture
def archive(serve, monkeypatch):
    """An empty archive that astroquery is configured to ask; ``archive.server`` can misbehave."""
    monkeypatch.setenv("FULLFIELD_TIMEOUT", "2")
    monkeypatch.setenv("FULLFIELD_ATTEMPTS", "3")
    content = Archive()
    content.server = serve(content)
    with mast_conf.set_temp("server", content.server.url):
        yield content


@pytest.fixture(scope="session")
def xdf(data):
    """Real images of WFC3/IR: their folder; by filter the science image, its noise and its WCS."""
    folder = data / "hst_jwst" / "hst_xdf_small"
    images = {}
    for band in ("F105W", "F160W"):
        (science,) = folder.glob(f"*{band.lower()}_sci.fits")
        (rms,) = folder.glob(f"*{band.lower()}_rms.fits")
        images[band] = (
            fits.getdata(science).astype(np.float32), fits.getdata(rms).astype(np.float32),
            WCS(fits.getheader(science)),
        )  # fmt: skip
    return folder, images


@pytest.fixture
def hubble(archive, xdf):
    """The archive with both filters, ERR and DQ in their files."""
    for obs_id, band in ((F105W, "F105W"), (F160W, "F160W")):
        science, rms, wcs = xdf[1][band]
        flags = np.zeros(science.shape, np.int16)
        flags[100, 50] = 16
        whole = np.ones(science.shape, np.float32)
        archive.add(obs_id, band, hst_mosaic(science, wcs, band.lower(), exposure=whole, error=rms, flags=flags))
    return archive


@pytest.fixture
def services(serve, monkeypatch):
    """The services of cutouts, with nothing on them, that the settings name; ``services.server`` can misbehave."""
    monkeypatch.setenv("FULLFIELD_TIMEOUT", "2")
    monkeypatch.setenv("FULLFIELD_ATTEMPTS", "3")
    content = CutoutServices()
    content.server = serve(content)
    url = content.server.url
    with (
        conf.set_temp("hips_server", url + HIPS),
        conf.set_temp("moc_server", url + MOC),
        conf.set_temp("legacy_server", url + LEGACY),
        conf.set_temp("ps1_server", url + FILENAMES.rsplit("/", 1)[0]),
    ):
        yield content


@pytest.fixture(scope="session")
def sdss_skies(sdss_field):
    """A real field's middle as the sky, by HiPS."""
    part = np.s_[500:1100, 700:1300]
    return {f"{PS1}/{band}": Sky(image[part], sdss_field.wcs[part]) for band, image in sdss_field.bands.items()}


@pytest.fixture
def hips(services, sdss_skies):
    """HiPS of that sky."""
    services.skies |= sdss_skies
    return services


@pytest.fixture(scope="session")
def here(sdss_skies):
    """The middle of that sky."""
    return at(sdss_skies[f"{PS1}/r"].wcs, 300, 300)


@pytest.fixture(scope="session")
def legacy_skies(data):
    """A real cutout of the Legacy Surveys as the sky and its weight, by band."""
    (path,) = (data / "hst_jwst" / "legacy_survey").glob("*.fits")
    skies = {"image": {}, "invvar": {}}
    with fits.open(path) as hdus:
        for hdu in hdus[1:]:
            skies[hdu.header["IMAGETYP"]][hdu.header["BAND"]] = Sky(hdu.data, WCS(hdu.header))
    return skies


@pytest.fixture
def legacy(services, legacy_skies):
    """The Legacy Surveys with that sky."""
    services.skies |= legacy_skies["image"]
    services.weights = dict(legacy_skies["invvar"])
    return services


@pytest.fixture(scope="session")
def stacks(data):
    """A real stack of three bands as a sky cell."""
    planes = [read_planes(data / "hst_jwst" / "cfhtls_w3" / f"CFHTLS-test_{band}.fits")[0] for band in "gri"]
    return {plane.band: (plane.image, plane.wcs) for plane in planes}


@pytest.fixture
def panstarrs(services, stacks):
    """Pan-STARRS with that sky cell."""
    services.stacks = dict(stacks)
    return services


@pytest.fixture
def any_cutout(hips, legacy, panstarrs, here):
    """A cutout that each of the services has."""
    return {
        "hips": f"hips:{PS1}/r@{here} 20arcsec",
        "legacy": "legacy:59.1067 -30.4848 20arcsec",
        "ps1": f"ps1:{at(panstarrs.stacks['r'][1], 220, 200)} 20arcsec",
    }


def at(wcs, x, y):
    """A pixel's position as a SOURCE has it."""
    ra, dec = wcs.pixel_to_world_values(x, y)
    return f"{ra:.6f} {dec:+.6f}"

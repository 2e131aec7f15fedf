"""Fixtures that every folder of tests may use."""

import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from fieldprep import Field
from fieldprep.errors import InputError

SDSS_FIELDS = (
    "001035-6-0017",
    "001043-5-0025",
    "001737-5-0039",
    "002583-2-0136",
    "002820-3-0122",
    "003184-2-0169",
    "007264-3-0111",
    "008162-6-0080",
)


@pytest.fixture(params=SDSS_FIELDS)
def sdss_name(request):
    """Name of each real SDSS field in turn."""
    return request.param


@pytest.fixture(scope="session")
def data():
    """Folder of real sky data."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("FULLFIELD_DATA") or default)
    if not folder.is_dir():
        pytest.skip(f"no real sky data at {folder}: set FULLFIELD_DATA to the folder that holds sdss/, hst_jwst/, ...")
    return folder


@pytest.fixture(scope="session")
def sdss_folder(data):
    """Folder of one SDSS field: three frames and a catalogue."""
    return data / "sdss" / "003184-2-0169"


@pytest.fixture(scope="session")
def sdss_field(sdss_folder):
    """That field, read once."""
    return Field.read(sdss_folder)


def _tan_wcs(shape, *, crval=(150.0, 2.0), crpix=None, scale=0.4, angle=0.0):
    """TAN WCS: 0-based ``crpix`` (the centre by default), arcsec per pixel, degrees of rotation."""
    x, y = crpix if crpix is not None else ((shape[1] - 1) / 2, (shape[0] - 1) / 2)
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.crval = crval
    wcs.wcs.crpix = [x + 1, y + 1]
    wcs.wcs.cd = np.array([[-cos, sin], [sin, cos]]) * scale / 3600
    wcs.wcs.set()
    return wcs


@pytest.fixture(scope="session")
def make_wcs():
    """Factory of TAN WCSs; see `_tan_wcs`."""
    return _tan_wcs


@pytest.fixture
def make_fits(tmp_path):
    """
    Factory of small FITS files with a TAN WCS.

    ``make_fits("g.fits", image, band="g")`` writes to the test's own folder (or ``folder=``) and gives the path.
    ``wcs`` is True (a TAN WCS about the centre), None (no WCS) or a `~astropy.wcs.WCS`; ``header`` adds keywords.
    A list of ``(image, header)`` instead of an image writes an empty primary HDU and one HDU for each.
    """

    def make(name, image, *, band=None, wcs=True, header=None, folder=None):
        path = Path(folder or tmp_path) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        parts = image if isinstance(image, list) else [(image, {})]
        hdus = []
        for pixels, own in parts:
            keys = fits.Header()
            if wcs is not None:
                keys.update((_tan_wcs(pixels.shape[-2:]) if wcs is True else wcs).to_header(relax=True))
            if band is not None:
                keys["BAND"] = band
            keys.update(header or {})
            keys.update(own)
            kind = fits.ImageHDU if isinstance(image, list) else fits.PrimaryHDU
            hdus.append(kind(pixels, keys, name=own["EXTNAME"]) if "EXTNAME" in own else kind(pixels, keys))
        if isinstance(image, list):
            hdus.insert(0, fits.PrimaryHDU())
        fits.HDUList(hdus).writeto(path, overwrite=True)
        return path

    return make


@pytest.fixture
def refused():
    """Check that a source is refused in one line with the file's name and these words in it; gives that line."""

    def check(source, *words, read=Field.read, name=None):
        with pytest.raises(InputError) as caught:
            read(source)
        text = str(caught.value)
        assert "\n" not in text
        for word in (name or Path(source).name, *words):
            assert word in text
        return text

    return check

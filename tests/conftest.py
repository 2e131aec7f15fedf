"""Fixtures that every folder of tests may use."""

import os
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from astropy.coordinates.name_resolve import sesame_url
from astropy.io import fits
from astropy.wcs import WCS
from astroquery.sdss import conf
from hypothesis import settings
from misbehaving import Server
from survey import Survey

from fieldprep import Field
from fieldprep.errors import InputError
from fieldprep.mosaic import Mosaic

pytest_plugins = ["sky_fixtures"]

# how long an example takes is the machine's affair: pytest-timeout ends what hangs
settings.register_profile("without_deadline", deadline=None)
settings.load_profile("without_deadline")

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


class _InMemory:
    """Reader of a mosaic whose pixels are a field's."""

    def __init__(self, field):
        self.field = field

    def __call__(self, window):
        return self.field.window(window)

    def sample(self, _shape):
        return self.field


@pytest.fixture(scope="session")
def as_mosaic():
    """Factory of a mosaic that is read from a field in memory."""
    return lambda field: Mosaic(field.name, field.shape, tuple(field.bands), _InMemory(field))


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


@pytest.fixture(autouse=True)
def _no_network(request, monkeypatch, tmp_path_factory):
    """Services that no test has set up are not there, and nobody waits for them."""
    if "remote_data" in request.keywords:
        yield
        return
    for name, value in _HURRY.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("FULLFIELD_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    with ExitStack() as set_for_now:
        for item in ("sas_baseurl", "skyserver_baseurl"):
            set_for_now.enter_context(conf.set_temp(item, _NOWHERE))
        set_for_now.enter_context(sesame_url.set([f"{_NOWHERE}/"]))
        yield


_NOWHERE = "http://127.0.0.1:9"  # the discard port: refused at once
# waits short enough for a test
_HURRY = {
    "FULLFIELD_RETRY_SECONDS": "0.01",
    "FULLFIELD_TIMEOUT": "0.5",
    "FULLFIELD_QUERIES_PER_MINUTE": "100000",
}


@pytest.fixture
def serve(monkeypatch, tmp_path, tmp_path_factory):
    """
    Serve a content on loopback, with astroquery's SDSS and Sesame pointed at it; gives the `misbehaving.Server`.

    Command lines in processes of their own find it too: they inherit the environment, in which XDG_CONFIG_HOME
    names a folder with an ``astroquery.cfg``.
    """
    monkeypatch.setenv("FULLFIELD_CACHE", str(tmp_path / "cache"))
    folder = tmp_path_factory.mktemp("config")  # not the test's own, which is to hold what it fetches and no more
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder))
    config = folder / "astropy" / "astroquery.cfg"
    config.parent.mkdir()
    started = []

    def start(content):
        server = opened.enter_context(Server(content))
        server.unprotected = 4  # bzip2 keeps no checksum of the level in its first four bytes
        started.append(server)
        opened.enter_context(conf.set_temp("sas_baseurl", f"{server.url}/sas"))
        opened.enter_context(conf.set_temp("skyserver_baseurl", server.url))
        opened.enter_context(sesame_url.set([f"{server.url}/cgi-bin/nph-sesame/"]))
        config.write_text(f"[sdss]\nsas_baseurl = {server.url}/sas\nskyserver_baseurl = {server.url}\n")
        return server

    with ExitStack() as opened:
        yield start
    assert [error for server in started for error in server.broken] == []


@pytest.fixture
def survey(serve, data):
    """Stand-in for SDSS that has the real fields: frames, catalogue, made-up votes and spectra."""
    return serve(Survey(data / "sdss" / name for name in SDSS_FIELDS))

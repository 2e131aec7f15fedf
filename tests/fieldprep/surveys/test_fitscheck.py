import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from fieldprep.errors import InputError
from fieldprep.surveys.fitscheck import check_fits


@pytest.fixture(params=[True, False])
def whole(tmp_path, request):
    """A file of two images, with checksums and without."""
    image = np.arange(10000, dtype=np.float32).reshape(100, 100)
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(image, name="SCI"), fits.ImageHDU(image + 1, name="ERR")]
    fits.HDUList(hdus).writeto(tmp_path / "a.fits", checksum=request.param)
    return tmp_path / "a.fits", request.param


def test_a_whole_file_passes(whole):
    check_fits(whole[0])
    check_fits(whole[0], extension="SCI")


@pytest.mark.parametrize("kept", [0, 3, 2000, 2880, 4000, 8640, 40000, -2880, -1])
def test_a_file_that_breaks_off_is_refused(whole, kept):
    path, _ = whole
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError) as caught:
        check_fits(path, extension="ERR")
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("place", [0.3, 0.9])
def test_a_flipped_byte_is_noticed_where_there_is_a_checksum(whole, place):
    path, has_checksum = whole
    content = bytearray(path.read_bytes())
    content[int(len(content) * place)] ^= 0x10
    path.write_bytes(content)
    if not has_checksum:
        check_fits(path)
        return
    with pytest.raises(InputError, match="checksum of HDU"):
        check_fits(path)


def test_what_is_no_fits_is_refused(tmp_path):
    (tmp_path / "a.fits").write_text("<html>all is well</html>" * 200)
    with pytest.raises(InputError, match="no FITS file"):
        check_fits(tmp_path / "a.fits")


def test_a_file_without_the_image_is_refused(whole, tmp_path):
    with pytest.raises(InputError, match="no image DQ"):
        check_fits(whole[0], extension="DQ")
    Table({"ra": [1.0]}).write(tmp_path / "t.fits")
    with pytest.raises(InputError, match="no image"):
        check_fits(tmp_path / "t.fits")

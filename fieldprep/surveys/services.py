"""Where the cutout services are, and short questions to services that no library asks."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, TypeVar

import requests
from astropy.config import ConfigItem, ConfigNamespace

from fieldprep.errors import one_line
from fieldprep.surveys.download import TransientError, body, check_answer, connection, is_web_page, patience, retrying

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Conf(ConfigNamespace):
    """
    Settings of the cutout services, read at every call.

    They are set as astropy's own are: ``fieldprep.surveys.services.conf.legacy_layer = "ls-dr9"``, or in the section
    ``[services]`` of ``fieldprep.cfg`` in the folder that ``astropy.config.get_config_dir("fullfield")`` names.
    MAST's address is a setting of astroquery.
    """

    rootname = "fullfield"

    hips_server = ConfigItem("", "hips2fits of the CDS; that of astroquery.hips2fits if empty.")
    moc_server = ConfigItem("https://alasky.cds.unistra.fr/MocServer/query", "Properties of HiPS at the CDS.")
    legacy_server = ConfigItem("https://www.legacysurvey.org/viewer/fits-cutout", "Cutouts of the Legacy Surveys.")
    legacy_layer = ConfigItem("ls-dr10", "Layer of the Legacy Surveys' viewer.")
    legacy_bands = ConfigItem("griz", "Bands of the Legacy Surveys.")
    ps1_server = ConfigItem("https://ps1images.stsci.edu/cgi-bin", "Images of Pan-STARRS.")
    ps1_bands = ConfigItem("gri", "Bands of Pan-STARRS.")


conf = Conf()


def ask(url: str, *, what: str, read: Callable[[str], T]) -> T:
    """
    Ask a service for a short text.

    Parameters
    ----------
    url : str
        Address with its parameters.
    what : str
        What is asked for, as an error is to name it.
    read : callable
        Makes of the text what is wanted; a text of which it raises a ValueError is taken to be damaged, and is
        asked for again.

    Returns
    -------
    object
        What ``read`` returns.

    Raises
    ------
    NotThereError
        If the service does not have it.
    fieldprep.errors.InputError
        If no whole answer can be had.
    """

    def once() -> T:
        headers = {"User-Agent": f"fullfield/{version('fullfield')}"}
        with (
            connection(url),
            requests.get(url, stream=True, timeout=patience().timeout_seconds, headers=headers) as response,
        ):
            content = body(response)
            check_answer(response, what)
        if is_web_page(content[:256]):
            raise TransientError("the service answers with a web page")
        try:
            return read(content.decode())
        except ValueError as error:
            raise TransientError(f"the answer cannot be read ({one_line(error)})") from error

    return retrying(once, what=what)

"""Data and weights by name: the packaged copy, then the checkout, then a verified download."""

from __future__ import annotations

import os
from pathlib import Path

import pooch

from fieldprep.errors import InputError, one_line

MIRROR = "FULLFIELD_MIRROR"  # environment variable: where the folders datasets/ and weights/ are served

_PACKAGE = Path(__file__).resolve().parent
_ROOTS = (_PACKAGE / "_data", _PACKAGE.parent)


def find(folder: str, name: str) -> Path:
    """
    Path of a resource.

    Parameters
    ----------
    folder : {'datasets', 'weights'}
        Where it lives.
    name : str
        Its path in that folder.

    Returns
    -------
    path
        Of the packaged copy, else of the checkout's, else of a copy fetched from the address in the
        environment variable FULLFIELD_MIRROR and checked against the sha256 in ``registry.txt``.

    Raises
    ------
    fieldprep.errors.InputError
        If there is no such resource.
    """
    for root in _ROOTS:
        path = root / folder / name
        if path.exists():
            return path
    known = registry(folder)
    mirror = os.environ.get(MIRROR)
    if name not in known or not mirror:
        have = ", ".join(names(folder)) or "nothing"
        raise InputError(f"{name}: not in {folder} (there is {have})")
    try:
        return Path(
            pooch.retrieve(
                f"{mirror.rstrip('/')}/{folder}/{name}",
                known_hash=f"sha256:{known[name]}",
                fname=name,
                path=pooch.os_cache("fullfield") / folder,
            )
        )
    except Exception as error:
        raise InputError(f"{name}: cannot be fetched from {mirror} ({one_line(error)})") from error


def weights_path(name: str | Path) -> Path:
    """
    Path of weights by a shipped name or by a path.

    Parameters
    ----------
    name : str or path
        What ends in ``.onnx`` is a path.

    Returns
    -------
    path

    Raises
    ------
    fieldprep.errors.InputError
        If there are no shipped weights of that name.
    """
    return Path(name) if str(name).endswith(".onnx") else find("weights", f"{name}.onnx")


def names(folder: str, ending: str = "") -> list[str]:
    """
    Resources that are at hand without a download.

    Parameters
    ----------
    folder : {'datasets', 'weights'}
        Where to look.
    ending : str
        Only files whose name ends so.

    Returns
    -------
    list of str
        Paths in that folder, sorted.
    """
    for root in _ROOTS:
        if (root / folder).is_dir():
            paths = (root / folder).rglob(f"*{ending}")
            return sorted(str(p.relative_to(root / folder)) for p in paths if p.is_file())
    return []


def registry(folder: str) -> dict[str, str]:
    """
    Checksums of a folder's resources.

    Parameters
    ----------
    folder : {'datasets', 'weights'}
        Where to look.

    Returns
    -------
    dict of str to str
        sha256 by name; empty where the folder has no ``registry.txt``.
    """
    for root in _ROOTS:
        path = root / folder / "registry.txt"
        if path.exists():
            lines = (line.split() for line in path.read_text().splitlines() if line.strip())
            return dict(lines)
    return {}

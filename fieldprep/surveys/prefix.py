"""The prefixes by which a SOURCE names a survey."""

from __future__ import annotations

import re

SURVEYS = ("sdss", "mast", "hips", "legacy", "ps1")
_PREFIX = re.compile(rf"^({'|'.join(SURVEYS)}):", re.IGNORECASE)


def survey_of(text: str) -> str:
    """Survey that a SOURCE names by its prefix, as in ``sdss:3184-2-169``; empty if none."""
    match = _PREFIX.match(text)
    return match[1].lower() if match else ""

"""Catalogues of what is known to be in a field, whatever they call their columns."""

from fieldprep.catalogues.catalogue import (
    NO_COLUMNS,
    Catalogue,
    NothingHereError,
    Sources,
    as_catalogue,
    read_catalogue,
    read_table,
    sources_on_field,
)

__all__ = [
    "NO_COLUMNS",
    "Catalogue",
    "NothingHereError",
    "Sources",
    "as_catalogue",
    "read_catalogue",
    "read_table",
    "sources_on_field",
]

"""Sky to fields to pictures to labels to cutouts."""

from fieldprep.field import Field

__all__ = ["Field"]

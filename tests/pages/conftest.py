"""Pages and API are tested over the same evidence."""

from tests.pages.world import world

__all__ = ["world"]

"""The wired program, as in the end-to-end tests."""

from tests.end_to_end.conftest import backend, deploy

__all__ = ["backend", "deploy"]

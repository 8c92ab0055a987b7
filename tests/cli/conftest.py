"""Commands beside a running proxy."""

from tests.end_to_end.conftest import backend, deploy

__all__ = ["backend", "deploy"]

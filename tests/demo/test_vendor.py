"""The vendor's tables and buttons do what Doorkeeper's would."""

from __future__ import annotations

import datetime as dt

import asyncpg
import pytest

from proxy.demo.postgres import Postgres, PostgresError
from proxy.demo.vendor import DATABASE, READER, TEN_YEARS, Vendor

ISSUED = dt.datetime(2026, 5, 3, 9, 12, tzinfo=dt.UTC)


@pytest.fixture
def folder(tmp_path_factory):
    import os
    import pathlib
    import shutil
    import tempfile

    path = pathlib.Path(tempfile.mkdtemp(prefix="sw-"))
    if os.geteuid() == 0:
        path.chmod(0o711)
    yield path
    shutil.rmtree(path)


async def test_regenerate_revokes_and_inserts_for_the_same_application_and_owner(folder):
    server = Postgres(folder / "pg")
    server.start()
    try:
        vendor = await Vendor.open(server.dsn(), server.dsn(DATABASE))
        acme, globex = await vendor.sign_up("acme", ISSUED), await vendor.sign_up("globex", ISSUED)
        new = await vendor.regenerate(acme)
        reader = await asyncpg.connect(server.dsn(DATABASE, READER))
        old, other, newest = await reader.fetch("SELECT * FROM oauth_access_tokens ORDER BY id")
        assert (acme.token, globex.token, new) == (old["token"], other["token"], newest["token"])
        assert (old["revoked_at"], None, None) == (newest["created_at"], other["revoked_at"], newest["revoked_at"])
        assert (acme.application, acme.owner) == (newest["application_id"], newest["resource_owner_id"])
        assert (ISSUED.replace(tzinfo=None), TEN_YEARS) == (old["created_at"], old["expires_in"])

        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await reader.execute("DELETE FROM oauth_access_tokens")
        await reader.close()
        await vendor.close()
        assert acme.token not in repr(acme)
    finally:
        server.stop()


def test_missing_postgresql_says_what_to_install(folder, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(PostgresError, match=r"pip install 'scim-witness\[demo\]'"):
        Postgres(folder / "pg").start()

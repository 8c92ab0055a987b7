"""The promises of the design for OAuth calls, on the program as a user runs it."""

from __future__ import annotations

from typing import Any

import aiohttp
from aiohttp import web

from tests.end_to_end.conftest import deploy, scripted  # noqa: F401 - fixtures
from tests.end_to_end.running import get, until

FORM = {"grant_type": "refresh_token", "refresh_token": "a-refresh-token-0123456789", "client_id": "okta"}


async def post(url: str, form: dict[str, str]) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.post(url, data=form) as answer:
        return answer.status, answer.headers.get("X-Incident-Id", "")


async def test_kill_9_right_after_a_refused_refresh_loses_nothing(deploy: Any, scripted: Any) -> None:  # noqa: F811
    url, script = scripted
    script.append(lambda _: web.json_response({"error": "invalid_grant"}, status=400))
    proxy = deploy(url, more="[oauth]\nenabled = true")
    proxy.start()
    status, incident = await post(f"{proxy.data}/oauth/token", FORM)
    proxy.kill()
    assert (400, 26) == (status, len(incident))
    shown = proxy.shown(incident)
    assert shown is not None, "the record lies in the spool"
    assert ("oauth_refusal", "refresh_failed") == (shown["incident"]["kind"], shown["cause"]["code"])
    proxy.start()
    until(lambda: incident.encode() in proxy.command("incidents", "list", "--json").stdout)


async def test_off_by_default_nothing_is_forwarded_without_a_token(deploy: Any, scripted: Any) -> None:  # noqa: F811
    url, script = scripted
    seen: list[str] = []

    def note(request: web.Request) -> web.StreamResponse:
        seen.append(request.path)
        return web.json_response({})

    script.append(note)
    proxy = deploy(url)
    proxy.start()
    for path in ("/oauth/token", "/oauth/authorize", "/oauth/revoke", "/oauth/introspect"):
        assert 401 == (await post(proxy.data + path, FORM))[0]
        assert 401 == (await get(proxy.data + path))[0]
    assert [] == seen


async def test_a_path_below_scim_is_refused_in_the_settings(deploy: Any, scripted: Any) -> None:  # noqa: F811
    for path in ("/scim/v2/Users", "/oauth/../Users", "/oauth/to%6ben", "oauth", "/oauth/token?x"):
        proxy = deploy(scripted[0], more=f'[oauth]\nenabled = true\ntoken = "{path}"')
        done = proxy.command("check-config")
        assert done.returncode != 0, path
        assert b"oauth.token" in done.stdout + done.stderr

"""The sample backend answers as RFC 7644 asks, as far as an identity provider would notice."""

from __future__ import annotations

import pytest

from proxy.demo.backend import BASE, Backend

ADA = {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "ada@acme.example", "active": True}


@pytest.fixture
async def client(aiohttp_client):
    return await aiohttp_client(Backend().app())


async def create(client, body=ADA):
    response = await client.post(f"{BASE}/Users", json=body)
    assert response.status == 201
    return await response.json(content_type=None)


async def test_created_user_is_found_by_id_and_by_filter_in_any_case(client):
    ada = await create(client)
    assert f"http://{client.host}:{client.port}{BASE}/Users/{ada['id']}" == ada["meta"]["location"]

    got = await (await client.get(f"{BASE}/Users/{ada['id']}")).json(content_type=None)
    assert ada == got

    found = await (await client.get(f"{BASE}/Users", params={"filter": 'userName eq "ADA@acme.example"'})).json(
        content_type=None
    )
    assert (1, [ada]) == (found["totalResults"], found["Resources"])


async def test_location_follows_the_host_of_the_request(client):
    response = await client.post(f"{BASE}/Users", json=ADA, headers={"Host": "scim.acme.example"})
    body = await response.json(content_type=None)
    assert f"http://scim.acme.example{BASE}/Users/{body['id']}" == response.headers["Location"] == body["meta"]["location"]
    assert response.content_type == "application/scim+json"


async def test_pages(client):
    for number in range(3):
        await create(client, {**ADA, "userName": f"user{number}"})
    page = await (await client.get(f"{BASE}/Users", params={"startIndex": "2", "count": "1"})).json(content_type=None)
    assert (page["totalResults"], page["startIndex"], page["itemsPerPage"]) == (3, 2, 1)
    assert page["Resources"][0]["userName"] == "user1"


async def test_put_replaces_and_patch_modifies(client):
    ada = await create(client)
    put = await client.put(f"{BASE}/Users/{ada['id']}", json={"userName": "ada@acme.example", "title": "Countess"})
    body = await put.json(content_type=None)
    assert (put.status, body["title"], body.get("active")) == (200, "Countess", None)

    operations = [
        {"op": "replace", "value": {"active": False}},
        {"op": "Add", "path": "name.givenName", "value": "Ada"},
        {"op": "remove", "path": "title"},
    ]
    patch = await client.patch(f"{BASE}/Users/{ada['id']}", json={"Operations": operations})
    body = await patch.json(content_type=None)
    assert (patch.status, body["active"], body["name"], "title" in body) == (200, False, {"givenName": "Ada"}, False)


async def test_group_members_are_added(client):
    group = await (await client.post(f"{BASE}/Groups", json={"displayName": "poets", "members": []})).json(content_type=None)
    operations = [{"op": "add", "path": "members", "value": [{"value": "1"}]}]
    patch = await client.patch(f"{BASE}/Groups/{group['id']}", json={"Operations": operations})
    assert (await patch.json(content_type=None))["members"] == [{"value": "1"}]


async def test_delete_is_204_without_body_even_when_gzip_is_asked_for(client):
    ada = await create(client)
    response = await client.delete(f"{BASE}/Users/{ada['id']}", headers={"Accept-Encoding": "gzip"})
    assert (response.status, await response.read()) == (204, b"")
    assert (await client.get(f"{BASE}/Users/{ada['id']}")).status == 404


async def test_gzip_only_when_asked_for(client):
    asked = await client.get(f"{BASE}/ServiceProviderConfig", headers={"Accept-Encoding": "gzip"})
    assert asked.headers["Content-Encoding"] == "gzip"
    plain = await client.get(f"{BASE}/ServiceProviderConfig", headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers


@pytest.mark.parametrize(
    "status, scim_type, method, path, body",
    [
        (400, "invalidSyntax", "POST", "/Users", b"{"),
        (400, "invalidSyntax", "POST", "/Users", b"[]"),
        (400, "invalidValue", "POST", "/Users", b"{}"),
        (409, "uniqueness", "POST", "/Users", b'{"userName": "ADA@ACME.EXAMPLE"}'),
        (400, "invalidFilter", "GET", "/Users?filter=userName%20sw%20%22a%22", None),
        (400, "invalidValue", "GET", "/Users?count=many", None),
        (404, None, "GET", "/Users/nobody", None),
        (404, None, "GET", "/Nothing", None),
        (405, None, "PUT", "/Users", b"{}"),
    ],
)
async def test_faults_are_scim_errors(client, status, scim_type, method, path, body):
    await create(client)
    response = await client.request(method, BASE + path, data=body)
    error = await response.json(content_type=None)
    assert (status, str(status), scim_type) == (response.status, error["status"], error.get("scimType"))
    assert error["schemas"] == ["urn:ietf:params:scim:api:messages:2.0:Error"]


@pytest.mark.parametrize(
    "operation", ["nonsense", {"op": "move"}, {"op": "remove"}, {"op": "replace", "path": "id", "value": 1}]
)
async def test_patch_operations_that_make_no_sense_are_refused(client, operation):
    ada = await create(client)
    response = await client.patch(f"{BASE}/Users/{ada['id']}", json={"Operations": [operation]})
    assert response.status == 400
    assert ada == await (await client.get(f"{BASE}/Users/{ada['id']}")).json(content_type=None)

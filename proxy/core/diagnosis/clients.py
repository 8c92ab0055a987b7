"""Provisioning clients by user agent: their names, and the set-up page on which a person replaces the token.

Sources: the vendors' public help pages (facts in DESIGN; profiles are a start, an unknown client gets a general text).
"""

from __future__ import annotations

from typing import Final

import msgspec


class Client(msgspec.Struct, frozen=True):
    """`place` is the page of the set-up and `field` where the token stands on it; `again` makes the client go on after a
    failure."""

    name: str
    place: str
    field: str
    again: str
    bearer_hint: str = (
        "If the field adds the word Bearer by itself, paste only the token; otherwise write Bearer, one space, the token."
    )


ANY: Final = Client(
    "the provisioning client",
    "in the provisioning (SCIM) settings of your identity provider",
    "API token",
    "run its connection test and start the failed provisioning tasks again",
)

_KNOWN: Final = {
    "okta": Client(
        "Okta",
        "in the Okta Admin Console open Applications, the application, Provisioning, Integration, Edit",
        "API token",
        "press Test API Credentials and Save, then retry the failed tasks under Dashboard, Tasks: Okta does not do it itself",
        "With the authentication mode HTTP Header, Okta sets Bearer by itself when the label in front of the field says so: "
        "then paste only the token. Where the field stands alone, write Bearer, one space, the token.",
    ),
    "entra": Client(
        "Microsoft Entra ID",
        "in the Microsoft Entra admin center open Enterprise applications, the application, Provisioning, Admin Credentials",
        "Secret Token",
        "press Test Connection and Save, then Restart provisioning: after repeated failures Entra holds the job in quarantine",
        "Paste only the token: Entra adds Bearer by itself.",
    ),
    "onelogin": Client(
        "OneLogin",
        "in OneLogin Administration open Applications, the application, Configuration, API Connection",
        "SCIM Bearer Token",
        "press Enable under API Status, save, and approve or retry the failed provisioning tasks",
        "Paste only the token: OneLogin adds Bearer by itself.",
    ),
    "jumpcloud": Client(
        "JumpCloud",
        "in the JumpCloud Admin Portal open SSO Applications, the application, Identity Management",
        "Token Key",
        "press Test Connection, then Activate and save",
        "Paste only the token: JumpCloud adds Bearer by itself.",
    ),
    "sailpoint": Client(
        "SailPoint",
        "in SailPoint open the source's connection settings",
        "API token",
        "press Test Connection and run the failed provisioning requests again",
    ),
    "ping": Client(
        "PingOne",
        "in PingOne open Integrations, Provisioning, the connection, Configure Authentication",
        "access token",
        "press Test Connection and save",
    ),
}
_ALIASES: Final = {"azure": "entra", "microsoft": "entra", "msft": "entra"}
_BY_HAND: Final = ("curl", "wget", "httpie", "postman", "insomnia", "mozilla", "bruno")


def client_of(user_agent: str) -> Client:
    """Return the profile of a user agent; `ANY` when it is none of the known ones."""
    agent = user_agent.lower()
    for word, client in _KNOWN.items():
        if word in agent:
            return client
    return next((_KNOWN[name] for word, name in _ALIASES.items() if word in agent), ANY)


def by_hand(user_agent: str) -> bool:
    """Tell whether a person's tool sent it (curl, Postman, a browser): no connection of its own."""
    return any(word in user_agent.lower() for word in _BY_HAND)

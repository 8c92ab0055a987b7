"""TLS of the ops listener: its certificate, and who signs those of its clients. Read anew with every reload."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import NamedTuple

from proxy.settings import Settings
from proxy.wire.certificates import load_pair
from proxy.wire.state import StartFault


class OpsTls(NamedTuple):
    """`authority` is what client_ca_file holds, empty where clients need no certificate; `names` as in Guard."""

    context: ssl.SSLContext
    authority: bytes = b""
    names: frozenset[str] | None = None


def ops_tls(settings: Settings) -> OpsTls | None:
    """Build it; None where the ops listener speaks plain HTTP. Raises StartFault when a file is no use.

    The authorities of the system are never asked: whoever they certify is no operator.
    """
    o = settings.ops.tls
    if o.cert_file is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    load_pair(context, "ops.tls", o.cert_file, o.key_file)
    if o.client_ca_file is None:
        return OpsTls(context)
    authority = _authority(context, o.client_ca_file)
    context.verify_mode = ssl.CERT_OPTIONAL if o.open_probes else ssl.CERT_REQUIRED
    return OpsTls(context, authority, frozenset(o.client_names))


def _authority(context: ssl.SSLContext, path: Path) -> bytes:
    where = f"ops.tls.client_ca_file {path}"
    try:
        held = path.read_bytes()
        context.load_verify_locations(cafile=path)
    except ssl.SSLError:
        raise StartFault(f"{where}: holds no certificates. Write those of the authority into it, in PEM.") from None
    except OSError as error:
        raise StartFault(f"{where}: {error.strerror}. Check the path and its permissions.") from None
    if not context.get_ca_certs():
        raise StartFault(
            f"{where}: holds no certificate of an authority (CA:TRUE), so no client could come in. Write one into it."
        )
    return held

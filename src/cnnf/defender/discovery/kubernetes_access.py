"""How to reach a cluster's API: from within a pod, or by a kubeconfig file.

Read anew for each session, since tokens, certificates and even the authority are replaced while a
Defender runs. Only what needs no other program is used: a kubeconfig whose user is an `exec` plugin
is refused with a sentence that says so.
"""

import base64
import binascii
import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from cnnf.defender.core.containers import clean_text
from cnnf.defender.discovery import limits
from cnnf.defender.discovery.errors import EngineUnreachable

#: Where a pod finds its account (`serviceaccount/admission.go`).
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """Where the API is and as whom. `token_file` is read before each request, `token` is fixed."""

    url: str
    tls: ssl.SSLContext
    token: str = ""
    token_file: Path | None = None

    def headers(self) -> dict[str, str]:
        """What says who we are. Raises EngineUnreachable when the token's file can't be read."""
        token = self.token
        if self.token_file is not None:
            token = _text(self.token_file).strip()
        return {"Authorization": f"Bearer {token}"} if token else {}


def is_in_cluster(environment: Mapping[str, str], account: Path = ACCOUNT) -> bool:
    """Does this process run in a pod that may talk to the API?"""
    return bool(environment.get("KUBERNETES_SERVICE_HOST")) and (account / "token").exists()


def in_cluster(environment: Mapping[str, str], account: Path = ACCOUNT) -> Access:
    """As the pod's service account. Raises EngineUnreachable."""
    host = environment.get("KUBERNETES_SERVICE_HOST", "")
    port = environment.get("KUBERNETES_SERVICE_PORT_HTTPS") or environment.get(
        "KUBERNETES_SERVICE_PORT", "443"
    )
    place = f"[{host}]" if ":" in host else host
    return Access(
        url=f"https://{place}:{port}",
        tls=_context(authority=_text(account / "ca.crt")),
        token_file=account / "token",
    )


def by_kubeconfig(path: Path) -> Access:
    """As the current context of a kubeconfig says. Raises EngineUnreachable."""
    try:
        loaded = yaml.safe_load(_text(path))
        entries: dict[str, Any] = loaded if isinstance(loaded, dict) else {}
        context = _named(entries, "contexts", "context", str(entries.get("current-context", "")))
        cluster = _named(entries, "clusters", "cluster", str(context.get("cluster", "")))
        user = _named(entries, "users", "user", str(context.get("user", "")))
    except (yaml.YAMLError, RecursionError) as error:
        raise _refused(f"{path}: no YAML: {clean_text(str(error), 200)}") from error
    except _MissingError as error:
        raise _refused(f"{path}: {error}") from error
    for plugin in ("exec", "auth-provider"):
        if plugin in user:
            raise _refused(
                f"{path}: its user is an {plugin} plugin, which is not run; give it a token or a "
                "certificate (a service account's, say)"
            )
    url = str(cluster.get("server", ""))
    if not url.startswith(("https://", "http://")):
        raise _refused(f"{path}: {url!r:.200} is no server")
    token_file = user.get("tokenFile")
    return Access(
        url=url.rstrip("/"),
        tls=_context(
            authority=_material(cluster, "certificate-authority", path),
            certificate=_material(user, "client-certificate", path),
            key=_material(user, "client-key", path),
            verify=not cluster.get("insecure-skip-tls-verify"),
        ),
        token=str(user.get("token") or ""),
        token_file=_beside(path, str(token_file)) if token_file else None,
    )


class _MissingError(Exception):
    """A kubeconfig names what it does not have."""


def _named(entries: dict[str, Any], group: str, kind: str, name: str) -> dict[str, Any]:
    for entry in entries.get(group) or ():
        if isinstance(entry, dict) and entry.get("name") == name:
            found = entry.get(kind)
            if isinstance(found, dict):
                return found
    raise _MissingError(f"it has no {kind} {name!r:.200}")


def _material(entry: dict[str, Any], key: str, path: Path) -> str:
    """PEM text: in the file itself, or in another that it names; '' where there is neither."""
    data = entry.get(f"{key}-data")
    if data:
        try:
            return base64.b64decode(str(data), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise _refused(f"{path}: {key}-data is no base64") from error
    named = entry.get(key)
    return _text(_beside(path, str(named))) if named else ""


def _beside(path: Path, name: str) -> Path:
    """Names in a kubeconfig are relative to its folder."""
    return path.parent / name


def _context(
    *, authority: str = "", certificate: str = "", key: str = "", verify: bool = True
) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cadata=authority or None)
        if not verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if certificate:
            # The library takes a client's key from files only.
            with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
                file.write(f"{certificate}\n{key}\n")
                file.flush()
                context.load_cert_chain(file.name)
    except (ssl.SSLError, ValueError, OSError) as error:
        raise _refused(f"the cluster's certificates can't be used: {error}") from error
    return context


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(limits.KUBERNETES_FILE_BYTES_MAX).decode()
    except OSError as error:
        raise _refused(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise _refused(f"{path} is no text") from error


def _refused(message: str) -> EngineUnreachable:
    return EngineUnreachable(message, "engine-refused")

"""TLS: what a mode asks for, what the server shows, which of its properties is at fault."""

from __future__ import annotations

import socket
import ssl
from dataclasses import replace

from .core import TLS, Failed, Step, failed
from .protocol import ProtocolError, ServerError, Tls, agreed, offers_tls, wrapped
from .refusals import from_server
from .settings import Settings, home

HOSTNAME_MISMATCH, EXPIRED, NOT_YET_VALID = 62, 10, 9  # OpenSSL's X509_V_ERR_…
IP_MISMATCH = 64


def context_of(settings: Settings) -> ssl.SSLContext:
    """What the mode asks for.  Raises ``Failed`` for certificates that cannot be read."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = settings.sslmode == "verify-full"
    root = root_certificate(settings)
    verifies = settings.sslmode.startswith("verify") or (
        # As libpq: where there is a root certificate, require looks at it.
        settings.sslmode == "require" and root is not None and root != "system"
    )
    context.verify_mode = ssl.CERT_REQUIRED if verifies else ssl.CERT_NONE
    files = {"sslrootcert": root, "sslcert": settings.sslcert, "sslkey": settings.sslkey}
    try:
        if verifies and root == "system":
            context.load_default_certs()
        elif verifies and root is not None:
            context.load_verify_locations(root)
        if settings.sslcert:
            # A password in any case: without one OpenSSL would ask for it on the terminal.
            secret = settings.sslpassword or ""
            context.load_cert_chain(settings.sslcert, settings.sslkey, password=secret)
    except (OSError, ssl.SSLError, ValueError) as error:
        named = ", ".join(f"{name} {path}" for name, path in files.items() if path)
        raise failed(
            "TLS",
            TLS,
            f"a certificate cannot be read ({named}): {getattr(error, 'strerror', None) or error}",
            "the path is wrong, or relative to another folder",
            "the file is no PEM, or the key does not belong to the certificate",
        ) from None
    if verifies and root is None:
        raise failed(
            "TLS",
            TLS,
            f"{settings.mode} needs a root certificate, and there is none",
            "neither sslrootcert nor ~/.postgresql/root.crt names the authority to trust",
            commands=("export PGSSLROOTCERT=/path/to/ca.pem",)
            if settings.driver == "asyncpg"
            else ("sslrootcert=/path/to/ca.pem", "sslrootcert=system (libpq 16 and later)"),
        )
    return context


def root_certificate(settings: Settings) -> str | None:
    """The file of the authorities to trust; libpq's own where none is named."""
    usual = home(".postgresql/root.crt")
    return settings.sslrootcert or (str(usual) if usual is not None and usual.is_file() else None)


def secured(
    raw: socket.socket, settings: Settings, host: str, steps: list[Step]
) -> tuple[socket.socket, Tls | None]:
    """*raw* in TLS, or as it is where the server has none and the mode allows that."""
    context = context_of(settings)
    try:
        offered = offers_tls(raw)
    except (ServerError, ProtocolError, OSError) as error:
        raise from_server(error, settings, encrypted=False) from None
    if not offered:
        if settings.sslmode not in {"prefer", "allow"}:
            raise failed(
                "TLS",
                TLS,
                f"the server speaks no TLS, and {settings.mode} wants it",
                "ssl = off in postgresql.conf, or this is a pooler without TLS",
                "it is a server for development, which needs none",
                commands=(
                    "as a superuser: SHOW ssl",
                    f"{settings.with_mode('disable')}, on one's own machine only",
                ),
            )
        seen = "the server has none" + ("" if local(raw) else ": everything goes in clear")
        steps.append(Step("TLS", seen, "note"))
        return raw, None
    try:
        carrier = wrapped(raw, context, host)
    except ssl.SSLCertVerificationError as error:
        raise not_trusted(error, settings, host) from None
    except TimeoutError as error:
        raise from_server(error, settings, encrypted=False) from None
    except (ssl.SSLError, OSError) as error:
        raise failed(
            "TLS",
            TLS,
            f"the handshake failed: {getattr(error, 'reason', None) or error}",
            "the two know no version or cipher in common",
            "the server asks for a certificate of the client's (sslcert, sslkey)",
            "something in between speaks TLS itself",
            again=True,
        ) from None
    tls = agreed(carrier)
    checked = {
        ssl.CERT_NONE: "its certificate was not looked at",
        ssl.CERT_REQUIRED: "its certificate is trusted",
    }[context.verify_mode]
    if context.check_hostname:
        checked += f" and for {host}"
    until = f", it ends {tls.expires} UTC" if tls.expires else ""
    steps.append(Step("TLS", f"{tls.version}, {tls.cipher}; {checked}{until}"))
    return carrier, replace(tls, checked=checked)


def local(raw: socket.socket) -> bool:
    """Whether *raw* stays on this machine."""
    return str(raw.getpeername()[0]).startswith(("127.", "::1"))


def not_trusted(error: ssl.SSLCertVerificationError, settings: Settings, host: str) -> Failed:
    """Which of the certificate's properties is at fault."""
    code, said = error.verify_code, error.verify_message
    if code in {HOSTNAME_MISMATCH, IP_MISMATCH}:
        return failed(
            "TLS",
            TLS,
            f"the certificate is for another host than {host}: {said}",
            "the URL names an address, an alias or a tunnel's end, not the certificate's name",
            "the certificate has no subjectAltName for that name",
            commands=(
                "name the host as the certificate does (libpq: host for the name, hostaddr "
                "for the address)",
                f"{settings.mode_name}=verify-ca, where the name cannot match",
            ),
        )
    if code in {EXPIRED, NOT_YET_VALID}:
        return failed(
            "TLS",
            TLS,
            f"the certificate's time is not now: {said}",
            "the server's certificate has ended, or the authority's" if code == EXPIRED else "",
            "this machine's clock is wrong",
            commands=("date -u", "renew the certificate, then SELECT pg_reload_conf()"),
        )
    return failed(
        "TLS",
        TLS,
        f"the certificate is not trusted: {said}",
        f"{root_certificate(settings)} is not the authority that signed it",
        "the server does not send the certificates in between",
        "something in between shows a certificate of its own",
        commands=(
            f"openssl s_client -starttls postgres -connect {host}:PORT -showcerts",
            "sslrootcert=/path/to/the/right/ca.pem",
        ),
    )

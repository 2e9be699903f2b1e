"""PostgreSQL's wire protocol, as far as a login goes.

The words of a driver tell one fault from another only in English, and only some of them.  The
server itself says exactly what it refuses, by SQLSTATE and by the routine that refused (PostgreSQL,
"Message Flow" and "Error and Notice Message Fields"); so this logs in by hand.  Nothing is written:
a login, a few values asked for, Terminate.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import socket
import ssl
import stringprep
import struct
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field

SSL_REQUEST = struct.pack("!II", 8, 80877103)
VERSION_3 = 196608
ENOUGH = 1 << 20  # of one message, in bytes; a web server's answer reads as an enormous length
MOST_ROUNDS = 10_000_000  # of a password's hash; a server that asks for more wants us to hang
OK, CLEARTEXT, MD5, SASL, SASL_CONTINUE, SASL_FINAL = 0, 3, 5, 10, 11, 12
METHODS = {2: "Kerberos V5", 6: "SCM credentials", 7: "GSSAPI", 9: "SSPI"}
SCRAM = "SCRAM-SHA-256"
# What is answered here, as libpq's require_auth calls it.
ANSWERED = {OK: "none", CLEARTEXT: "password", MD5: "md5", SASL: SCRAM.lower()}
PROHIBITED = (
    stringprep.in_table_a1,
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


class ProtocolError(Exception):
    """What answers does not speak PostgreSQL's protocol."""


class WebServerError(ProtocolError):
    """What answers speaks HTTP."""


class Unsupported(Exception):
    """A way to log in that a driver may know, and this does not."""


class NoPassword(Exception):
    """The server asks for a password, and none was given."""


class ImpostorError(Exception):
    """The server does not know the password's verifier: it may not be the one it says it is."""


@dataclass(eq=False)
class ServerError(Exception):
    """An ErrorResponse.  *routine* is the C function that refused; it is in no language."""

    sqlstate: str
    message: str
    detail: str = ""
    hint: str = ""
    routine: str = ""

    def __str__(self) -> str:
        told = f"{self.message} ({self.detail})" if self.detail else self.message
        return f"{told} (SQLSTATE {self.sqlstate})"


@dataclass
class Wire:
    """A socket on which messages come and go."""

    socket: socket.socket
    parameters: dict[str, str] = field(default_factory=dict)
    backend_pid: int | None = None
    method: str = "none"

    def send(self, kind: bytes, payload: bytes) -> None:
        """One message."""
        self.socket.sendall(kind + struct.pack("!I", len(payload) + 4) + payload)

    def exactly(self, count: int) -> bytes:
        """The next *count* bytes.  Raises ``ConnectionResetError`` where the server hung up."""
        parts = b""
        while len(parts) < count:
            part = self.socket.recv(count - len(parts))
            if not part:
                raise ConnectionResetError("the server closed the connection")
            parts += part
        return parts

    def receive(self) -> tuple[bytes, bytes]:
        """The kind and the payload of the next message but notices.  Raises ``ServerError``."""
        while True:
            kind = self.exactly(1)
            (length,) = struct.unpack("!I", self.exactly(4))
            if kind + struct.pack("!I", length) == b"HTTP/":
                raise WebServerError("HTTP/")
            if not 4 <= length <= ENOUGH:
                raise ProtocolError(f"a message of {length} bytes")
            payload = self.exactly(length - 4)
            if kind == b"E":
                raise server_error(payload)
            if kind == b"S":
                name, value, *_ = texts(payload)
                self.parameters[name] = value
            elif kind == b"K":
                self.backend_pid = struct.unpack("!I", payload[:4])[0]
            elif kind != b"N":
                return kind, payload

    def close(self) -> None:
        """Say goodbye, as far as anybody listens."""
        try:
            self.send(b"X", b"")
        except OSError:
            pass
        finally:
            self.socket.close()


def texts(payload: bytes) -> list[str]:
    """The zero-terminated strings of *payload*."""
    return [part.decode("utf-8", "replace") for part in payload.split(b"\0")]


def server_error(payload: bytes) -> ServerError:
    """What an ErrorResponse says."""
    fields = {part[0]: part[1:] for part in texts(payload) if part}
    return ServerError(
        sqlstate=fields.get("C", "?????"),
        message=fields.get("M", ""),
        detail=fields.get("D", ""),
        hint=fields.get("H", ""),
        routine=fields.get("R", ""),
    )


def offers_tls(raw: socket.socket) -> bool:
    """Ask for TLS: whether the server will speak it.  Raises ``ProtocolError``."""
    raw.sendall(SSL_REQUEST)
    answer = raw.recv(1)
    if answer in {b"S", b"N"}:
        return answer == b"S"
    if answer == b"E":  # a server that is full or starting may answer so, in clear
        wire = Wire(raw)
        (length,) = struct.unpack("!I", wire.exactly(4))
        if 4 <= length <= ENOUGH:
            raise server_error(wire.exactly(length - 4))
    if not answer:
        raise ConnectionResetError("the server closed the connection")
    if answer == b"H" and raw.recv(4) == b"TTP/":
        raise WebServerError("HTTP/")
    raise ProtocolError(f"the byte {answer!r} where S or N was expected")


def log_in(
    raw: socket.socket,
    user: str,
    password: str | None,
    parameters: dict[str, str],
    *,
    require_auth: str = "",
    channel_binding: str = "",
) -> Wire:
    """Log in over *raw*: ready for a query.  *parameters* are those of the StartupMessage.

    *require_auth* and *channel_binding* are libpq's: what they forbid gets no answer.

    Raises ``ServerError``, ``NoPassword``, ``Unsupported``, ``ImpostorError``, ``ProtocolError``,
    ``OSError``.
    """
    wire = Wire(raw)
    words = {"user": user, **parameters}
    pairs = encoded("".join(f"{key}\0{value}\0" for key, value in words.items()))
    payload = struct.pack("!I", VERSION_3) + pairs + b"\0"
    raw.sendall(struct.pack("!I", len(payload) + 4) + payload)
    while True:
        kind, payload = wire.receive()
        if kind == b"Z":
            return wire
        if kind == b"v":  # NegotiateProtocolVersion
            continue
        if kind != b"R" or len(payload) < 4:
            raise ProtocolError(f"the message {kind!r} while logging in")
        (request,) = struct.unpack("!I", payload[:4])
        if request not in ANSWERED:
            raise Unsupported(METHODS.get(request, f"method {request}"))
        method = wire.method if request == OK else ANSWERED[request]
        if channel_binding == "require":
            raise Unsupported("channel_binding=require")
        if not permitted(method, require_auth):
            raise Unsupported(f"require_auth={require_auth}, and the server asks for {method}")
        if request == OK:
            continue
        if password is None:
            raise NoPassword
        wire.method = method
        answer(wire, request, payload[4:], user, password)


def permitted(method: str, require_auth: str) -> bool:
    """Whether libpq's ``require_auth`` permits *method*: it lists what it takes, or !others."""
    names = require_auth.split(",")
    if require_auth.startswith("!"):
        return f"!{method}" not in names
    return not require_auth or method in names


def answer(wire: Wire, request: int, payload: bytes, user: str, password: str) -> None:
    """Prove that the password is known."""
    if request == CLEARTEXT:
        wire.send(b"p", encoded(password) + b"\0")
    elif request == MD5:
        inner = hashlib.md5(encoded(password + user), usedforsecurity=False).hexdigest()
        outer = hashlib.md5(inner.encode() + payload[:4], usedforsecurity=False).hexdigest()
        wire.send(b"p", f"md5{outer}".encode() + b"\0")
    else:
        mechanisms = [name for name in texts(payload) if name]
        if SCRAM not in mechanisms:
            raise Unsupported(", ".join(mechanisms))
        scram(wire, password)


def encoded(text: str) -> bytes:
    """As the bytes that were in the environment or a file."""
    return text.encode("utf-8", "surrogateescape")


def scram(wire: Wire, password: str) -> None:
    """SCRAM-SHA-256 without channel binding (RFC 5802, RFC 7677)."""
    nonce = base64.b64encode(secrets.token_bytes(18)).decode()
    first_bare = f"n=,r={nonce}"
    first = f"n,,{first_bare}".encode()
    wire.send(b"p", SCRAM.encode() + b"\0" + struct.pack("!I", len(first)) + first)
    server_first = sasl(wire, SASL_CONTINUE)
    said = attributes(server_first)
    if not said.get("r", "").startswith(nonce) or not 0 < int(said.get("i", "0")) < MOST_ROUNDS:
        raise ProtocolError("a SCRAM challenge that is none")
    salt = base64.b64decode(said["s"])
    salted = hashlib.pbkdf2_hmac("sha256", prepared(password), salt, int(said["i"]))
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    without_proof = f"c=biws,r={said['r']}"
    signed = ",".join([first_bare, server_first, without_proof]).encode()
    signature = hmac.digest(hashlib.sha256(client_key).digest(), signed, "sha256")
    proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
    wire.send(b"p", f"{without_proof},p={base64.b64encode(proof).decode()}".encode())
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    expected = base64.b64encode(hmac.digest(server_key, signed, "sha256")).decode()
    if attributes(sasl(wire, SASL_FINAL)).get("v") != expected:
        raise ImpostorError


def sasl(wire: Wire, expected: int) -> str:
    """The text of the next step."""
    kind, payload = wire.receive()
    if kind != b"R" or struct.unpack("!I", payload[:4])[0] != expected:
        raise ProtocolError(f"the message {kind!r} within SCRAM")
    return payload[4:].decode()


def attributes(message: str) -> dict[str, str]:
    """``a=1,b=2`` as a dictionary."""
    return {part[0]: part[2:] for part in message.split(",") if part[1:2] == "="}


def prepared(password: str) -> bytes:
    """*password* as SASLprep makes it (RFC 4013); as it is where that fails, as libpq does."""
    raw = encoded(password)
    if password.isascii() or raw != password.encode("utf-8", "replace"):
        return raw
    mapped = "".join(
        " " if stringprep.in_table_c12(each) else each
        for each in password
        if not stringprep.in_table_b1(each)
    )
    found = unicodedata.normalize("NFKC", mapped)
    if not found or any(table(each) for each in found for table in PROHIBITED):
        return raw
    right = [stringprep.in_table_d1(each) for each in found]
    mixed = any(right) and (any(map(stringprep.in_table_d2, found)) or not (right[0] and right[-1]))
    return raw if mixed else found.encode()


def query(wire: Wire, sql: str) -> list[list[str | None]]:
    """The rows of *sql*, as text.  Raises ``ServerError``."""
    wire.send(b"Q", sql.encode() + b"\0")
    rows: list[list[str | None]] = []
    failed: ServerError | None = None
    while True:
        try:
            kind, payload = wire.receive()
        except ServerError as error:
            failed = error
            continue
        except OSError:
            if failed is not None:  # it told why, and hung up
                raise failed from None
            raise
        if kind == b"D":
            rows.append(list(values(payload)))
        elif kind == b"Z":
            if failed is not None:
                raise failed
            return rows


def values(payload: bytes) -> Iterator[str | None]:
    """The values of a DataRow."""
    at = 2
    for _ in range(struct.unpack("!H", payload[:2])[0]):
        (length,) = struct.unpack("!i", payload[at : at + 4])
        at += 4
        if length < 0:
            yield None
            continue
        yield payload[at : at + length].decode("utf-8", "replace")
        at += length


# --- Certificates ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tls:
    """What was agreed: for example TLSv1.3, and when the server's certificate ends (UTC)."""

    version: str
    cipher: str
    expires: str | None
    checked: str = ""  # what was made of the certificate, in words


def wrapped(raw: socket.socket, context: ssl.SSLContext, host: str) -> ssl.SSLSocket:
    """*raw* in TLS.  Raises ``ssl.SSLError``, of which ``SSLCertVerificationError`` is one."""
    return context.wrap_socket(raw, server_hostname=host)


def agreed(secured: ssl.SSLSocket) -> Tls:
    """What *secured* agreed on."""
    der = secured.getpeercert(binary_form=True)
    cipher = secured.cipher()
    return Tls(
        secured.version() or "TLS", cipher[0] if cipher else "?", not_after(der) if der else None
    )


def not_after(der: bytes) -> str | None:
    """When the certificate *der* ends: ``2027-01-31 12:00:00``; None where it cannot be read.

    Certificate, TBSCertificate; there, behind version, serial number, algorithm and issuer, the
    Validity (RFC 5280, section 4.1).  The standard library decodes verified certificates alone.
    """
    try:
        certificate = contents(der)[0][1]
        inner = contents(contents(certificate)[0][1])
        at = 4 if inner[0][0] == 0xA0 else 3
        kind, raw = contents(inner[at][1])[1]
        text = raw.decode("ascii")
    except (IndexError, UnicodeDecodeError):
        return None
    if kind == 0x17:  # UTCTime: two digits of the year
        text = ("19" if text[:2] >= "50" else "20") + text
    day, clock = text[:8], text[8:14]
    return f"{day[:4]}-{day[4:6]}-{day[6:]} {clock[:2]}:{clock[2:4]}:{clock[4:]}"


def contents(der: bytes) -> list[tuple[int, bytes]]:
    """The elements of *der*: tag and content of each."""
    found, at = [], 0
    while at + 1 < len(der):
        tag, length = der[at], der[at + 1]
        at += 2
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(der[at : at + size], "big")
            at += size
        found.append((tag, der[at : at + length]))
        at += length
    return found

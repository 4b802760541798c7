"""Who may do what: bearer tokens, roles, origins and rates. No I/O but the token file.

A token is 256 random bits behind an id, ``kapok_<id>_<secret>``. Only its SHA-256 is stored; with
that much chance in it, a slow hash would add nothing. It is compared in constant time, and an
unknown id costs the same comparison, so that the time of an answer tells nothing.

Without a token file nobody is asked for a token: a client on this machine may do everything,
another machine may stream calls and look, but edit nothing (:meth:`Access.identify`). A client of
this machine that comes through a proxy, or under a name that is not this machine's, counts as
another machine: a web page elsewhere may have sent it (DNS rebinding).
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import ipaddress
import logging
import os
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ivr.errors import AccessError, ConfigError
from ivr.settings import AccessSettings
from ivr.yamlsource import read_yaml, refuse, validate

__all__ = [
    "ANYONE",
    "Access",
    "Identity",
    "Permission",
    "RateLimiter",
    "Role",
    "Token",
    "TokenFile",
    "hostname",
    "is_in",
    "is_loopback",
    "new_token",
    "without_token",
]

_log = logging.getLogger(__name__)

_TOKEN = re.compile(r"kapok_([0-9a-f]{8})_([A-Za-z0-9_-]{43})")
#: Longer credentials are refused unread.
_LONGEST = 256


class Role(StrEnum):
    """What a token is for."""

    GATEWAY = "gateway"
    VIEW = "view"
    EDIT = "edit"
    ADMINISTER = "administer"


class Permission(StrEnum):
    """What someone may do."""

    STREAM = "stream"  # open calls
    DECISION = "decision"  # ask where a call goes, by its id
    REPORT = "report"  # tell that a caller was answered or gave up
    VIEW = "view"  # metrics, calls, queues
    EDIT = "edit"  # the queues
    ADMINISTER = "administer"  # the audit log


_OPERATOR: Final = frozenset({Permission.DECISION, Permission.VIEW})
#: An operator's token opens no calls, and a gateway's edits nothing.
GRANTS: Final[Mapping[Role, frozenset[Permission]]] = {
    Role.GATEWAY: frozenset({Permission.STREAM, Permission.DECISION, Permission.REPORT}),
    Role.VIEW: _OPERATOR,
    Role.EDIT: _OPERATOR | {Permission.EDIT},
    Role.ADMINISTER: _OPERATOR | {Permission.EDIT, Permission.ADMINISTER},
}


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is asking."""

    name: str  # of the token; safe to log
    permissions: frozenset[Permission]
    token_id: str | None = None  # None where no token was asked for

    def may(self, permission: Permission) -> bool:
        """Whether this is granted."""
        return permission in self.permissions


#: Where no tokens are in force: a client of this machine, and one of another.
_LOCAL: Final = Identity("local", frozenset(Permission))
_REMOTE: Final = Identity(
    "remote",
    frozenset({Permission.STREAM, Permission.DECISION, Permission.REPORT, Permission.VIEW}),
)
#: Nobody in particular: health checks.
ANYONE: Final = Identity("anyone", frozenset())


# --- tokens -----------------------------------------------------------------------------


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _check_id(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{8}", text):
        raise refuse("a token's id is eight hexadecimal digits", "make tokens by `ivr token new`")
    return text


def _check_hash(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise refuse(
            "this is not the SHA-256 of a token", "make tokens by `ivr token new`; delete this one"
        )
    return text


class Token(_Model):
    """A token as it is stored: without its secret."""

    id: Annotated[str, AfterValidator(_check_id)] = Field(examples=['id: "1f2e3d4c"'])
    name: str = Field(min_length=1, max_length=80, examples=["name: pbx-1"])
    role: Role = Field(examples=["role: gateway"])
    sha256: Annotated[str, AfterValidator(_check_hash)] = Field(examples=["sha256: ..."])
    created: str = Field(examples=['created: "2026-11-25T08:00:00+00:00"'])
    expires: datetime | None = Field(default=None, examples=['expires: "2027-11-25T00:00+08:00"'])


class _Tokens(_Model):
    tokens: tuple[Token, ...] = Field(examples=["tokens: []"])


def new_token(
    name: str,
    role: Role,
    *,
    now: datetime,
    expires: datetime | None = None,
    random: Callable[[int], bytes] = secrets.token_bytes,
) -> tuple[str, Token]:
    """A new token: its text, which is shown once, and what is stored of it.

    Args:
        name: who gets it.
        now, expires: with their time zones.
        random: so many random bytes; for tests.
    """
    token_id = random(4).hex()
    text = f"kapok_{token_id}_{_url_safe(random(32))}"
    stored = Token(
        id=token_id,
        name=name,
        role=role,
        sha256=_sha256(text),
        created=now.astimezone(UTC).isoformat(timespec="seconds"),
        expires=expires,
    )
    return text, stored


def _url_safe(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class TokenFile:
    """The tokens in a YAML file that only its owner may read; read again when it changes.

    A file that has become unreadable or wrong, or is gone, leaves the tokens in force as they
    are: a slip while editing must not open the door.

    Raises:
        ConfigError: at first, where the file is there and wrong, or others may read it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen = self._look()
        self._tokens: Mapping[str, Token] | None = None
        if self._seen is not None:
            self._tokens = self._read()

    @property
    def tokens(self) -> Mapping[str, Token] | None:
        """By id; None where there has been no file yet: nobody is asked for a token."""
        seen = self._look()
        if seen != self._seen:
            self._seen = seen
            self._take()
        return self._tokens

    def add(self, token: Token) -> None:
        """Write one more token; makes the file."""
        self._write([*(self.tokens or {}).values(), token])

    def revoke(self, token_id: str) -> Token:
        """Delete a token. A running server turns it away from the next request on.

        Raises:
            ConfigError: there is none of this id.
        """
        known = dict(self.tokens or {})
        if token_id not in known:
            raise ConfigError(
                f"{self.path}: there is no token {token_id!r}; `ivr token list` shows them"
            )
        gone = known.pop(token_id)
        self._write(known.values())
        return gone

    def _take(self) -> None:
        if self._seen is None:
            if self._tokens is not None:
                _log.error("%s is gone; the tokens in force stay in force", self.path)
            return
        try:
            self._tokens = self._read()
            _log.info("%s: %d tokens are in force", self.path, len(self._tokens))
        except ConfigError as error:
            _log.error("the edit of the tokens is refused, the old ones stay:\n%s", error)
            self._tokens = self._tokens or {}  # there is a file now: nobody comes in without one

    def _look(self) -> tuple[int, int, int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino, found.st_mode

    def _read(self) -> Mapping[str, Token]:
        mode = self.path.stat().st_mode
        if os.name == "posix" and mode & 0o037:  # a group may read: that is how secrets are mounted
            raise ConfigError(
                f"{self.path}: others may read this file (mode {mode & 0o777:03o}), and it decides "
                f"who may connect; run: chmod 600 {self.path}"
            )
        read = validate(_Tokens, read_yaml(self.path))
        return {token.id: token for token in read.tokens}

    def _write(self, tokens: Iterable[Token]) -> None:
        listed = [token.model_dump(mode="json", exclude_none=True) for token in tokens]
        head = "# Tokens of gateways and operators; made by `ivr token`. Secrets are not in here.\n"
        text = head + yaml.safe_dump({"tokens": listed}, sort_keys=False, allow_unicode=True)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}.part")
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            _keep_owner(self.path, handle)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, self.path)


def _keep_owner(path: Path, handle: int) -> None:
    """An administrator's edit as root leaves the file to the user that the server runs as."""
    with contextlib.suppress(FileNotFoundError, PermissionError):
        before = path.stat()
        os.fchown(handle, before.st_uid, before.st_gid)


# --- rates ------------------------------------------------------------------------------


class RateLimiter:
    """A token bucket for each address, with room for so many addresses and no more.

    Args:
        per_s: how many are allowed a second, on average.
        burst: how many at once.
        most: addresses remembered; the one that came least recently is forgotten.
        now_s: a monotonic clock, seconds.
    """

    def __init__(
        self, *, per_s: float, burst: float, now_s: Callable[[], float], most: int = 10_000
    ) -> None:
        self._per_s, self._burst, self._now_s, self._most = per_s, burst, now_s, most
        #: address -> (what is left, when that was)
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allowed(self, address: str) -> bool:
        """Whether there is one left, without taking it."""
        return self._level(address) >= 1.0

    def take(self, address: str) -> bool:
        """Take one; False where none is left."""
        level = self._level(address)
        took = level >= 1.0
        self._left[address] = (level - 1.0 if took else level, self._now_s())
        self._left.move_to_end(address)
        if len(self._left) > self._most:
            self._left.popitem(last=False)
        return took

    def retry_after_s(self, address: str) -> float:
        """How long until one is left again."""
        return max(0.0, (1.0 - self._level(address)) / self._per_s)

    def __len__(self) -> int:
        return len(self._left)

    def _level(self, address: str) -> float:
        level, then_s = self._left.get(address, (self._burst, self._now_s()))
        return min(self._burst, level + (self._now_s() - then_s) * self._per_s)


# --- the door ---------------------------------------------------------------------------


class Access:
    """Decides who may connect.

    Args:
        settings: tokens, origins and rates.
        host: what the server listens on, by name or address.
        now: the wall clock, with its time zone, for tokens that expire.
        now_s: a monotonic clock, seconds.

    Raises:
        ConfigError: the token file is wrong.
    """

    def __init__(
        self,
        settings: AccessSettings,
        *,
        host: str,
        now: Callable[[], datetime],
        now_s: Callable[[], float],
    ) -> None:
        self._file = TokenFile(settings.tokens)
        self._origins = frozenset(origin.rstrip("/").lower() for origin in settings.origins)
        self._host = host
        self._now = now
        self._failures = RateLimiter(
            per_s=settings.failures_per_minute / 60,
            burst=settings.failures_per_minute,
            now_s=now_s,
        )

    @property
    def asks_for_tokens(self) -> bool:
        """Whether tokens are in force."""
        return self._file.tokens is not None

    def warnings(self) -> tuple[str, ...]:
        """What an operator should know before the server listens, a sentence each."""
        if self.asks_for_tokens or is_loopback(self._host):
            return ()
        return (
            f"ANYONE WHO REACHES {self._host} CAN OPEN CALLS AND READ WHAT CALLERS ASK FOR: there "
            f"are no tokens. Make some by `ivr token new --role gateway --name NAME`, or listen "
            "on 127.0.0.1",
        )

    def identify(
        self,
        *,
        address: str,
        authorization: str | None = None,
        query: str | None = None,
        host: str | None = None,
        forwarded: bool = False,
    ) -> Identity:
        """Who is asking.

        Args:
            address: of the client.
            authorization: the header of that name.
            query: the token of ``?token=``, for gateways that can set no header.
            host: the header of that name.
            forwarded: the request has a header that a proxy adds.

        Raises:
            AccessError: 401 without a good token, 429 after too many bad ones.
        """
        tokens = self._file.tokens
        if tokens is None:
            local = is_loopback(address) and not forwarded and self._is_own_name(host)
            return _LOCAL if local else _REMOTE
        if not self._failures.allowed(address):
            wait_s = self._failures.retry_after_s(address)
            raise AccessError(
                429, "rate", f"too many wrong tokens; wait {wait_s:.0f} s", retry_after_s=wait_s
            )
        given = _bearer(authorization) or query
        if given is None:
            raise AccessError(
                401,
                "token",
                "a token is needed: send the header 'Authorization: Bearer TOKEN'; "
                "whoever runs the server makes one by `ivr token new`",
            )
        token = self._find(given, tokens)
        if token is None:
            self._failures.take(address)
            raise AccessError(401, "token", "this token is not valid: mistyped, expired or revoked")
        return Identity(token.name, GRANTS[token.role], token.id)

    def require(self, identity: Identity, permission: Permission) -> None:
        """Raises AccessError (403) where ``identity`` may not do this."""
        if identity.may(permission):
            return
        if identity is _REMOTE:
            mend = "without tokens only this machine itself may; make one by `ivr token new`"
        else:
            roles = " or ".join(role for role, granted in GRANTS.items() if permission in granted)
            mend = f"it takes a token of the role {roles}"
        raise AccessError(403, "role", f"{identity.name} may not {permission}: {mend}")

    def check_origin(self, origin: str | None, host: str | None) -> None:
        """Raises AccessError (403) for a web page of another address.

        Gateways and command lines send no ``Origin``; a browser always does where it matters.
        """
        if origin is None or origin.rstrip("/").lower() in self._origins:
            return
        netloc = origin.lower().partition("://")[2]
        if host is not None and netloc and netloc == host.lower():
            return
        raise AccessError(
            403,
            "origin",
            "pages of this address may not connect; add it to server.access.origins",
        )

    def _find(self, given: str, tokens: Mapping[str, Token]) -> Token | None:
        found = _TOKEN.fullmatch(given) if len(given) <= _LONGEST else None
        token = tokens.get(found[1]) if found else None
        stored = token.sha256 if token else "0" * 64
        same = hmac.compare_digest(_sha256(given[:_LONGEST]), stored)
        if token is None or not same:
            return None
        if token.expires is not None and self._now() >= _aware(token.expires):
            return None
        return token

    def _is_own_name(self, host: str | None) -> bool:
        """An address, localhost or our own name: nothing a page's DNS could have made."""
        if host is None:
            return True
        name = hostname(f"//{host}")
        allowed = {"localhost", self._host.lower(), *map(hostname, self._origins)}
        return bool(name) and (name in allowed or _is_address(name))


def hostname(url: str) -> str:
    """The host of an address in small letters; empty where it has none or is none."""
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _bearer(header: str | None) -> str | None:
    scheme, _, token = (header or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether an address, or the name ``localhost``, is this machine itself."""
    if host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def is_in(address: str, networks: Iterable[str]) -> bool:
    """Whether an address is in one of the networks; True where none are named."""
    listed = [ipaddress.ip_network(network) for network in networks]
    if not listed:
        return True
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return any((getattr(found, "ipv4_mapped", None) or found) in network for network in listed)


def without_token(path: str) -> tuple[str, str | None]:
    """A request's path without ``token=``, and the token: the path may then be logged."""
    plain, _, query = path.partition("?")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=64)
    except ValueError:  # more fields than anybody needs
        return plain, None
    tokens = [value for key, value in pairs if key == "token"]
    kept = urlencode([pair for pair in pairs if pair[0] != "token"])
    return f"{plain}?{kept}" if kept else plain, tokens[0] if tokens else None

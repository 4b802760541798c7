"""Tokens, roles, origins and rates."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr.errors import AccessError, ConfigError
from ivr.server.access import (
    GRANTS,
    Access,
    Permission,
    RateLimiter,
    Role,
    TokenFile,
    is_in,
    is_loopback,
    new_token,
    without_token,
)
from ivr.settings import AccessSettings

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


class Clock:
    """Both clocks, moved by hand."""

    def __init__(self) -> None:
        self.s = 0.0

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.s)

    def now_s(self) -> float:
        return self.s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens.yaml"


def access(path: Path, clock: Clock, *, host: str = "127.0.0.1", **more: object) -> Access:
    chosen = AccessSettings(tokens=path, **more)  # type: ignore[arg-type]
    return Access(chosen, host=host, now=clock.now, now_s=clock.now_s)


def made(path: Path, role: Role, **more: datetime) -> str:
    text, token = new_token(f"the {role}", role, now=NOON, **more)
    TokenFile(path).add(token)
    return text


def denied(door: Access, address: str = "10.0.0.7", **given: object) -> AccessError:
    with pytest.raises(AccessError) as caught:
        door.identify(address=address, **given)  # type: ignore[arg-type]
    return caught.value


# --- tokens ---------------------------------------------------------------------------------


@pytest.mark.parametrize("role", Role)
def test_a_token_has_its_role_alone(path: Path, clock: Clock, role: Role) -> None:
    text = made(path, role)
    who = access(path, clock).identify(address="10.0.0.7", authorization=f"Bearer {text}")
    assert who.name == f"the {role}"
    assert {p for p in Permission if who.may(p)} == GRANTS[role]


def test_roles_are_ordered_and_gateways_apart() -> None:
    assert GRANTS[Role.VIEW] < GRANTS[Role.EDIT] < GRANTS[Role.ADMINISTER]
    assert Permission.STREAM not in GRANTS[Role.ADMINISTER]
    assert not GRANTS[Role.GATEWAY] & {Permission.VIEW, Permission.EDIT, Permission.ADMINISTER}


def test_the_query_serves_gateways_that_set_no_header(path: Path, clock: Clock) -> None:
    text = made(path, Role.GATEWAY)
    assert access(path, clock).identify(address="10.0.0.7", query=text).may(Permission.STREAM)


def test_the_secret_is_not_in_the_file_which_is_its_owners_alone(path: Path) -> None:
    text = made(path, Role.EDIT)
    assert text.split("_", 2)[2] not in path.read_text()  # which may hold an underscore itself
    assert text not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_an_edit_as_root_leaves_the_file_to_its_owner(path: Path) -> None:
    made(path, Role.VIEW)
    os.chown(path, 12_345, 23_456)
    before = path.stat()
    made(path, Role.EDIT)
    after = path.stat()
    assert after.st_ino != before.st_ino
    assert (after.st_uid, after.st_gid) == (12_345, 23_456)
    assert after.st_mode & 0o777 == 0o600


def test_a_file_that_others_may_read_is_refused(path: Path, clock: Clock) -> None:
    made(path, Role.EDIT)
    path.chmod(0o644)
    with pytest.raises(ConfigError, match=r"others may read .*chmod 600 "):
        access(path, clock)


def test_a_file_that_is_wrong_names_the_place(path: Path, clock: Clock) -> None:
    path.write_text('tokens:\n  - id: "1f2e3d4c"\n    name: x\n    role: boss\n')
    path.chmod(0o600)
    with pytest.raises(ConfigError, match=r"tokens\.yaml:4:11: 'boss' is not allowed"):
        access(path, clock)


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer ",
        "Basic abc",
        "",
        "Bearer kapok_00000000_" + "A" * 43,
        "Bearer " + "x" * 9999,
    ],
)
def test_no_token_or_a_wrong_one_is_401(path: Path, clock: Clock, header: str) -> None:
    made(path, Role.VIEW)
    error = denied(access(path, clock), authorization=header)
    assert (error.status, error.reason) == (401, "token")
    assert "x" * 20 not in str(error)


def test_one_changed_letter_is_wrong(path: Path, clock: Clock) -> None:
    text = made(path, Role.VIEW)
    changed = text[:-1] + ("A" if text[-1] != "A" else "B")
    assert denied(access(path, clock), query=changed).status == 401


def test_a_token_expires(path: Path, clock: Clock) -> None:
    text = made(path, Role.VIEW, expires=NOON + timedelta(days=1))
    door = access(path, clock)
    door.identify(address="10.0.0.7", query=text)
    clock.s = 86_400.0
    assert denied(door, query=text).status == 401


def test_a_revoked_token_is_turned_away_without_a_restart(path: Path, clock: Clock) -> None:
    text, other = made(path, Role.VIEW), made(path, Role.VIEW)
    door = access(path, clock)
    door.identify(address="10.0.0.7", query=text)
    TokenFile(path).revoke(text.split("_")[1])
    assert denied(door, query=text).status == 401
    door.identify(address="10.0.0.7", query=other)
    with pytest.raises(ConfigError, match="ivr token list"):
        TokenFile(path).revoke("00000000")


def test_a_slip_while_editing_opens_no_door(
    path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    text = made(path, Role.VIEW)
    door = access(path, clock)
    path.write_text("tokens: [oh no")
    door.identify(address="10.0.0.7", query=text)
    assert denied(door).status == 401
    path.unlink()
    door.identify(address="10.0.0.7", query=text)
    assert denied(door, address="127.0.0.1").status == 401
    assert "the edit of the tokens is refused" in caplog.text
    assert "stay in force" in caplog.text


def test_the_first_token_closes_the_door_at_once(path: Path, clock: Clock) -> None:
    door = access(path, clock)
    assert not door.asks_for_tokens
    made(path, Role.VIEW)
    assert denied(door, address="127.0.0.1").status == 401


def test_guessing_is_slowed_down_and_told_how_long(path: Path, clock: Clock) -> None:
    text = made(path, Role.VIEW)
    door = access(path, clock, failures_per_minute=3)
    for _ in range(3):
        assert denied(door, query="kapok_guess").status == 401
    error = denied(door, query=text)  # not even the right one, or guessing would be told
    assert (error.status, error.reason) == (429, "rate")
    assert error.retry_after_s == pytest.approx(20.0)
    door.identify(address="10.0.0.8", query=text)  # others are not disturbed
    clock.s = 20.0
    door.identify(address="10.0.0.7", query=text)


# --- without tokens -------------------------------------------------------------------------


def test_without_tokens_this_machine_may_do_all_and_others_may_not_edit(
    path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    door = access(path, clock)
    assert all(door.identify(address="127.0.0.1").may(p) for p in Permission)
    other = door.identify(address="10.0.0.7")
    assert other.may(Permission.STREAM)
    with pytest.raises(AccessError, match="without tokens only this machine") as caught:
        door.require(other, Permission.EDIT)
    assert caught.value.status == 403


@pytest.mark.parametrize(
    ("host", "forwarded", "local"),
    [
        ("localhost:2701", False, True),
        ("127.0.0.1:2701", False, True),
        ("[::1]:2701", False, True),
        ("evil.example:2701", False, False),  # DNS rebinding
        ("[", False, False),
        ("localhost:2701", True, False),
    ],
)
def test_who_counts_as_this_machine(
    path: Path, clock: Clock, host: str, forwarded: bool, local: bool
) -> None:
    who = access(path, clock).identify(address="127.0.0.1", host=host, forwarded=forwarded)
    assert who.may(Permission.EDIT) is local


def test_listening_for_others_without_tokens_is_warned_of_loudly(path: Path, clock: Clock) -> None:
    assert access(path, clock).warnings() == ()
    (warning,) = access(path, clock, host="0.0.0.0").warnings()
    assert "ANYONE WHO REACHES 0.0.0.0" in warning
    assert "ivr token new" in warning
    made(path, Role.VIEW)
    assert access(path, clock, host="0.0.0.0").warnings() == ()


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("fe80::1%eth0", False),
        ("kapok.example", False),
        ("", False),
    ],
)
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    ("address", "networks", "inside"),
    [
        ("10.0.0.5", (), True),
        ("10.0.0.5", ("10.0.0.5/32",), True),
        ("10.0.0.6", ("10.0.0.5/32",), False),
        ("::ffff:10.1.2.3", ("10.1.0.0/16",), True),
        ("fe80::1%eth0", ("fe80::/10",), True),
        ("fe80::1", ("10.0.0.0/8",), False),
        ("nobody", ("10.0.0.0/8",), False),
    ],
)
def test_networks(address: str, networks: tuple[str, ...], inside: bool) -> None:
    assert is_in(address, networks) is inside


# --- origins --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "good"),
    [
        (None, True),
        ("http://127.0.0.1:2701", True),  # the page came from here
        ("https://desk.example", True),  # from the settings
        ("HTTPS://Desk.example/", True),
        ("https://evil.example", False),
        ("http://127.0.0.1:8080", False),
        ("null", False),
        ("", False),
    ],
)
def test_origins(path: Path, clock: Clock, origin: str | None, good: bool) -> None:
    door = access(path, clock, origins=("https://desk.example",))
    if good:
        door.check_origin(origin, "127.0.0.1:2701")
        return
    with pytest.raises(AccessError, match=r"server\.access\.origins"):
        door.check_origin(origin, "127.0.0.1:2701")


# --- rates ----------------------------------------------------------------------------------


def test_a_bucket(clock: Clock) -> None:
    limiter = RateLimiter(per_s=2.0, burst=3, now_s=clock.now_s)
    assert [limiter.take("a") for _ in range(4)] == [True, True, True, False]
    assert limiter.retry_after_s("a") == 0.5
    assert limiter.take("b")
    clock.s = 0.5
    assert [limiter.take("a"), limiter.take("a")] == [True, False]
    clock.s = 1_000.0
    assert [limiter.take("a") for _ in range(4)] == [True, True, True, False]


def test_addresses_are_not_remembered_without_end(clock: Clock) -> None:
    limiter = RateLimiter(per_s=1.0, burst=1, now_s=clock.now_s, most=100)
    for number in range(1_000):
        limiter.take(str(number))
    assert len(limiter) == 100


# --- paths ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "plain", "token"),
    [
        ("/twilio?token=abc", "/twilio", "abc"),
        ("/?a=1&token=abc&b=", "/?a=1&b=", "abc"),
        ("/calls/x", "/calls/x", None),
        ("/?token=", "/", ""),
        ("/?" + "a=1&" * 100 + "token=x", "/", None),
    ],
)
def test_the_token_is_taken_out_of_the_path(path: str, plain: str, token: str | None) -> None:
    assert without_token(path) == (plain, token)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=40), st.text(min_size=12, alphabet="abcXYZ0189-_", max_size=43))
def test_no_path_keeps_its_token(rest: str, token: str) -> None:
    plain, found = without_token(f"/x?token={quote(token)}&rest={quote(rest)}")
    assert found == token
    assert f"token={token}" not in plain
    assert without_token(rest)[0].count("token=") <= rest.count("token=")

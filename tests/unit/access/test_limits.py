"""The limits of a node, with a clock of the test's."""

from __future__ import annotations

import ipaddress

import pytest

from interview_edge.access.api_keys import make_key
from interview_edge.access.credentials import Bearer, Credential, LoginCookie, Ticket
from interview_edge.access.limits import Allowance, Limits, network_of, tighter
from interview_edge.access.principal import EVERYBODY, NOBODY, Principal, Scope, Via
from interview_edge.errors import CATALOG_UNAVAILABLE, INVALID_KEY, EdgeError, ErrorKind
from interview_edge.settings import Settings

ALICE = Principal("alice", frozenset({Scope.INGEST}), Via.KEY, key_id="1")
BOB = Principal("bob", frozenset({Scope.INGEST}), Via.KEY, key_id="2")
HERE, ELSEWHERE = "192.0.2.1", "192.0.2.2"


class Clock:
    def __init__(self) -> None:
        self.now = 5_000.0

    def __call__(self) -> float:
        return self.now


class Keys(set[str]):
    def make(self) -> Bearer:
        text, (key_id, _) = make_key()
        self.add(key_id)
        return Bearer(text)

    def find(self, key_id: str) -> str | None:
        return key_id if key_id in self else None


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys() -> Keys:
    return Keys()


def limits(clock: Clock, keys: Keys, **changes: float) -> Limits:
    return Limits(Settings(**changes), now=clock, find_key=keys.find)  # type: ignore[arg-type]


def fail(limits: Limits, network: str, credential: Credential, kind: ErrorKind = INVALID_KEY) -> str:
    """Try the credential, and be refused for `kind`; the code of what came of it."""
    with pytest.raises(EdgeError) as refusal, limits.attempt(network, credential):
        raise EdgeError(kind)
    return refusal.value.kind.code


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
    ],
)
def test_a_client_is_its_network(address: str, network: str) -> None:
    assert network_of(ipaddress.ip_address(address)) == network


def test_requests_of_an_address_are_counted_down_refused_and_granted_again(clock: Clock, keys: Keys) -> None:
    of_node = limits(clock, keys, ip_rate=2, ip_burst=3)
    assert [of_node.take_of_address(HERE) for _ in range(3)] == [
        Allowance(3, 2, 1), Allowance(3, 1, 1), Allowance(3, 0, 2),
    ]  # fmt: skip
    with pytest.raises(EdgeError) as refusal:
        of_node.take_of_address(HERE)
    assert refusal.value.kind.code == "rate_limited"
    assert refusal.value.retry_after == 0.5
    assert refusal.value.headers == {
        "ratelimit-limit": "3", "ratelimit-remaining": "0", "ratelimit-reset": "2",
    }  # fmt: skip
    of_node.take_of_address(ELSEWHERE)
    clock.now += 0.5
    assert of_node.take_of_address(HERE) == Allowance(3, 0, 2)


def test_requests_of_a_key_are_its_own(clock: Clock, keys: Keys) -> None:
    of_node = limits(clock, keys, key_rate=1, key_burst=1)
    of_node.take_of_key(ALICE)
    with pytest.raises(EdgeError):
        of_node.take_of_key(ALICE)
    of_node.take_of_key(BOB)


def test_users_of_jwts_are_counted_by_name(clock: Clock, keys: Keys) -> None:
    of_node = limits(clock, keys, key_rate=1, key_burst=1)
    for user in ("carol", "dave"):
        of_node.take_of_key(Principal(user, frozenset(), Via.JWT))
    with pytest.raises(EdgeError):
        of_node.take_of_key(Principal("carol", frozenset(), Via.JWT, expires_at=5))


@pytest.mark.parametrize("principal", [EVERYBODY, NOBODY])
def test_who_shows_nothing_has_no_bucket_of_a_key(clock: Clock, keys: Keys, principal: Principal) -> None:
    of_node = limits(clock, keys, key_rate=1, key_burst=1, max_sockets_per_key=1)
    assert [of_node.take_of_key(principal) for _ in range(9)] == [None] * 9
    with of_node.socket_of_key(principal), of_node.socket_of_key(principal):
        assert of_node.size == 0


def test_rate_0_is_no_limit(clock: Clock, keys: Keys) -> None:
    of_node = limits(clock, keys, key_rate=0, ip_rate=0, key_burst=1, ip_burst=1)
    assert [of_node.take_of_key(ALICE) for _ in range(9)] == [None] * 9
    assert [of_node.take_of_address(HERE) for _ in range(9)] == [None] * 9


def test_a_client_without_an_address_is_not_limited_by_it(clock: Clock, keys: Keys) -> None:
    of_node = limits(clock, keys, ip_rate=1, ip_burst=1, max_sockets_per_ip=1)
    assert [of_node.take_of_address(None) for _ in range(9)] == [None] * 9
    with of_node.socket_of_address(None), of_node.socket_of_address(None):
        assert of_node.size == 0


def test_the_tighter_allowance_is_told() -> None:
    one, other = Allowance(10, 9, 1), Allowance(1000, 3, 1)
    assert tighter(one, other) is tighter(other, one) is other
    assert tighter(None, one) is tighter(one, None) is one
    assert tighter(None, None) is None


# -- wrong credentials


def test_wrong_secrets_of_a_key_are_refused_before_they_are_looked_at(clock: Clock, keys: Keys) -> None:
    of_node, attacked = limits(clock, keys, max_failed_auth=3), keys.make()
    assert [fail(of_node, HERE, attacked) for _ in range(3)] == ["invalid_key"] * 3
    with pytest.raises(EdgeError) as refusal, of_node.attempt(HERE, attacked):
        pytest.fail("the secret would be hashed here")
    assert refusal.value.kind.code == "rate_limited"
    assert refusal.value.retry_after == pytest.approx(20)
    assert refusal.value.headers["ratelimit-remaining"] == "0"


def test_a_right_key_isn_t_locked_out_by_wrong_ones(clock: Clock, keys: Keys) -> None:
    """Neither another key at the same address, nor the attacked one from another address."""
    of_node, attacked, other = limits(clock, keys, max_failed_auth=1), keys.make(), keys.make()
    fail(of_node, HERE, attacked)
    assert fail(of_node, HERE, attacked) == "rate_limited"
    for network, key in ((HERE, other), (ELSEWHERE, attacked)):
        with of_node.attempt(network, key):
            pass


def test_made_up_ids_are_one_target(clock: Clock, keys: Keys) -> None:
    of_node = limits(clock, keys, max_failed_auth=5)
    codes = [fail(of_node, HERE, Bearer(make_key()[0])) for _ in range(9)]
    codes += [fail(of_node, HERE, Bearer("no key at all"))]
    assert codes == ["invalid_key"] * 5 + ["rate_limited"] * 5
    with of_node.attempt(HERE, keys.make()):
        pass


def test_kinds_of_credentials_are_targets_of_their_own(clock: Clock, keys: Keys) -> None:
    of_node = limits(clock, keys, max_failed_auth=1)
    shown: list[Credential] = [Bearer("x"), Bearer("a.b.c"), LoginCookie("x"), Ticket("x")]
    assert [fail(of_node, HERE, each) for each in shown] == ["invalid_key"] * 4
    assert [fail(of_node, HERE, each) for each in shown] == ["rate_limited"] * 4


def test_an_outage_is_no_wrong_credential(clock: Clock, keys: Keys) -> None:
    of_node, key = limits(clock, keys, max_failed_auth=1), keys.make()
    assert [fail(of_node, HERE, key, CATALOG_UNAVAILABLE) for _ in range(3)] == ["catalog_unavailable"] * 3


def test_attempts_come_back_with_time(clock: Clock, keys: Keys) -> None:
    of_node, key = limits(clock, keys, max_failed_auth=6), keys.make()
    for _ in range(6):
        fail(of_node, HERE, key)
    assert fail(of_node, HERE, key) == "rate_limited"
    clock.now += 10
    assert fail(of_node, HERE, key) == "invalid_key"
    assert fail(of_node, HERE, key) == "rate_limited"


# -- sockets


def test_sockets_of_a_key_and_of_an_address_are_bounded(clock: Clock, keys: Keys) -> None:
    of_node = limits(clock, keys, max_sockets_per_key=2, max_sockets_per_ip=1)
    with of_node.socket_of_key(ALICE), of_node.socket_of_key(ALICE), of_node.socket_of_address(HERE):
        for another in (of_node.socket_of_key(ALICE), of_node.socket_of_address(HERE)):
            with pytest.raises(EdgeError) as refusal, another:
                pass
            assert refusal.value.kind.code == "too_many_sockets"
            assert refusal.value.retry_after == 5
        with of_node.socket_of_key(BOB), of_node.socket_of_address(ELSEWHERE):
            assert of_node.size == 4
    assert of_node.size == 0
    with of_node.socket_of_key(ALICE), of_node.socket_of_address(HERE):
        pass

"""API keys: made once, stored as hashes, read again when the file changes."""

import itertools
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app import cli
from server.access.api_keys import ApiKeys, NewKey, make_key
from server.access.credentials import KEY_PREFIX
from server.access.unauthorized import Reason, UnauthorizedError

DESK, OTHER = make_key("desk"), make_key("other")
SECRET = DESK.key.split("_", 2)[2]


def stored(folder: Path, *lines: str) -> ApiKeys:
    path = folder / "keys.toml"
    path.write_text("\n".join(lines))
    keys = ApiKeys(path)
    keys.file.load()
    return keys


def reason(keys: ApiKeys, key: str) -> Reason:
    with pytest.raises(UnauthorizedError) as refused:
        keys.grant_of(key)
    assert refused.value.key in ("", DESK.key.split("_")[1])
    return refused.value.reason


def test_a_key_grants_what_stands_beside_its_hash(tmp_path: Path) -> None:
    keys = stored(tmp_path, DESK.lines, 'claims = {streams = ["spot:*"], operator = true}', OTHER.lines)
    grant = keys.grant_of(DESK.key)
    assert (grant.subject, grant.streams, grant.is_operator, grant.expires_at) == ("key:desk", ("spot:*",), True, None)
    assert keys.grant_of(OTHER.key).subject == "key:other"


def test_the_file_does_not_hold_the_key(tmp_path: Path) -> None:
    assert DESK.key not in DESK.lines
    assert SECRET not in DESK.lines
    assert len({make_key("a").key for _ in range(100)}) == 100


def test_every_other_key_is_unknown(tmp_path: Path) -> None:
    keys = stored(tmp_path, DESK.lines)
    key_id = DESK.key.split("_")[1]
    hashed = DESK.lines.partition('sha256 = "')[2][:64]
    for wrong in (
        OTHER.key,
        DESK.key[:-1],
        DESK.key + "x",
        DESK.key.upper(),
        f"{KEY_PREFIX}{key_id}_",
        f"{KEY_PREFIX}{key_id}_{hashed}",
        key_id,
        hashed,
        KEY_PREFIX,
        "",
    ):
        assert reason(keys, wrong) is Reason.UNKNOWN_KEY
    assert reason(keys, DESK.key + "x" * 100) is Reason.TOO_LONG
    assert reason(keys, "é" * 40) is Reason.MALFORMED


@pytest.mark.parametrize(
    "text",
    [
        "[[key]",
        "[[key]]\n",
        "[[keys]]\n",
        DESK.lines + "extra = 1\n",
        DESK.lines + 'claims = {stream = ["*"]}\n',
        DESK.lines + 'claims = {streams = ["btcusdt"]}\n',
        DESK.lines.replace('sha256 = "', 'sha256 = "0'),
        DESK.lines.replace("desk", "a desk"),
        DESK.lines + DESK.lines,
        DESK.lines + OTHER.lines.replace("other", "desk"),
    ],
    ids=itertools.count(),  # test runners that share the work must give the tests the same names
)
def test_a_file_that_is_not_right_is_not_taken(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        stored(tmp_path, text)
    assert SECRET not in str(refused.value)


def test_a_grant_of_a_key_holds_while_the_file_says_the_same(tmp_path: Path) -> None:
    keys = stored(tmp_path, DESK.lines)
    grant = keys.grant_of(DESK.key)
    assert keys.holds(grant)
    (tmp_path / "keys.toml").write_text(DESK.lines + "claims = {max_streams = 5}\n")
    keys.file.load()
    assert not keys.holds(grant)
    (tmp_path / "keys.toml").write_text(OTHER.lines)
    keys.file.load()
    assert not keys.holds(grant)


def test_the_command_makes_a_key_that_its_lines_let_in(tmp_path: Path) -> None:
    made = CliRunner().invoke(cli, ["key", "desk"])
    assert made.exit_code == 0
    key, lines = made.stdout.strip(), made.stderr.partition("\n\n")[2]
    assert stored(tmp_path, NewKey(key, lines).lines).grant_of(key).subject == "key:desk"
    assert key not in made.stderr


@pytest.mark.parametrize("name", ["", "a b", 'a"', "a\n", "x" * 65, "é"])
def test_a_name_is_a_plain_word(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        make_key(name)

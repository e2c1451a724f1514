"""How a file is damaged: bytes turned, cut, doubled and mixed, numbers of a JSON file changed, files replaced."""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
from pathlib import Path
from typing import Any

ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, 0.5, 1e308, 2**63, 10**40, float("nan"), float("inf"), "", "x", "../../etc/passwd"),
    *(
        [],
        {},
        [[]],
        [0] * 1000,
        {"a": {"b": []}},
        "\u0000\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
    ),
)
"""What may stand where something else belongs."""


class Payload:
    """What a hostile pickle would run: it makes a file."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.proof,))


def damage(path: Path, draw: random.Random, others: list[Path], proof: Path) -> None:
    """Damage one file in place, in one of many ways.

    Args:
        draw: decides how.
        others: sound files to mix in.
        proof: appears if anything in a file is run.
    """
    if draw.random() < 0.06:
        return _replace(path, draw, proof)
    if path.suffix == ".json" and draw.random() < 0.7:
        return _change_json(path, draw)
    data = bytearray(path.read_bytes())
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        data = _turn(data, draw, others)
    path.write_bytes(data)


def _turn(data: bytearray, draw: random.Random, others: list[Path]) -> bytearray:
    if not data:
        return data
    # headers decide most, so half of all damage is near the beginning
    at = draw.randrange(len(data)) if draw.random() < 0.5 else draw.randrange(min(len(data), 400))
    length = draw.choice((1, 2, 4, 16, 300))
    way = draw.randrange(7)
    if way == 0:
        data[at] ^= 1 << draw.randrange(8)
    elif way == 1:
        data[at : at + length] = draw.randbytes(len(data[at : at + length]))
    elif way == 2:
        del data[at:]
    elif way == 3:
        del data[at : at + length]
    elif way == 4:
        data[at:at] = data[at : at + length] * draw.choice((1, 2, 50))
    elif way == 5:
        value = draw.choice((0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000, draw.getrandbits(32)))
        data[at : at + 4] = value.to_bytes(4, draw.choice(("big", "little")))
    else:
        other = draw.choice(others).read_bytes()
        data[at:] = other[min(at, len(other)) :]
    return data


def _change_json(path: Path, draw: random.Random) -> None:
    told = json.loads(path.read_text(encoding="utf-8"))
    places: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, inner in items:
            places.append((value, key))
            walk(inner)

    walk(told)
    for _ in range(draw.choice((1, 1, 2))):
        if not places:
            break
        container, key = draw.choice(places)
        try:
            if draw.random() < 0.15:
                del container[key]
            else:
                container[key] = draw.choice(ODD)
        except (KeyError, IndexError):  # deleted before
            continue
    text = json.dumps(told)
    if draw.random() < 0.03:
        text = "[" * 50_000 + text
    path.write_text(text, encoding="utf-8")


def _replace(path: Path, draw: random.Random, proof: Path) -> None:
    path.unlink()
    way = draw.randrange(7)
    if way == 0:
        os.mkfifo(path)
    elif way == 1:
        path.symlink_to(path.name)
    elif way == 2:
        path.symlink_to("/dev/zero")
    elif way == 3:
        path.mkdir()
    elif way == 4:
        path.touch()
    elif way == 5:
        path.write_bytes(pickle.dumps(Payload(proof)))
    # else it is missing


def copy(sound: Path, to: Path) -> None:
    """A file or a folder, to be damaged."""
    if sound.is_dir():
        shutil.copytree(sound, to, symlinks=True)
    else:
        shutil.copyfile(sound, to)

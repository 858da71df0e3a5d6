"""Ways in which the files of a workspace can be wrong; each returns what does it to a folder."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from safetensors.numpy import load_file, save_file

Damage = Callable[[Path], None]


def both(*damages: Damage) -> Damage:
    return lambda workspace: [damage(workspace) for damage in damages] and None


def param(key: str, value: Any) -> Damage:
    """The value at a dotted key of params.yaml is another; `...` removes the key."""

    def change(workspace: Path) -> None:
        path = workspace / "params.yaml"
        whole = yaml.safe_load(path.read_text(encoding="utf-8"))
        *sections, last = key.split(".")
        section = whole
        for name in sections:
            section = section[name]
        _set(section, last, value)
        path.write_text(yaml.safe_dump(whole, sort_keys=False), encoding="utf-8")

    return change


def _set(section: dict, key: str, value: Any) -> None:
    if value is ...:
        del section[key]
    else:
        section[key] = value


def content(name: str, new: bytes | str) -> Damage:
    new = new.encode() if isinstance(new, str) else new
    return lambda workspace: (workspace / name).write_bytes(new) and None


def gone(name: str) -> Damage:
    return lambda workspace: (workspace / name).unlink()


def renamed(name: str, new: str) -> Damage:
    return lambda workspace: (workspace / name).rename(workspace / new) and None


def cut(name: str, kept: int) -> Damage:
    """The file ends after `kept` bytes; if negative, that many bytes before its end."""
    return _rewritten(name, lambda old: old[:kept])


def recoded(name: str, encoding: str) -> Damage:
    return _rewritten(name, lambda old: old.decode().encode(encoding))


def _rewritten(name: str, rewrite: Callable[[bytes], bytes]) -> Damage:
    def change(workspace: Path) -> None:
        path = workspace / name
        path.write_bytes(rewrite(path.read_bytes()))

    return change


def line(name: str, number: int, new: str) -> Damage:
    """Line `number` of a file, counted from 1, reads otherwise."""

    def rewrite(old: bytes) -> bytes:
        lines = old.splitlines()
        lines[number - 1] = new.encode()
        return b"\n".join([*lines, b""])

    return _rewritten(name, rewrite)


def repeated(name: str, number: int) -> Damage:
    """Line `number` stands at the file's end once more."""
    return _rewritten(name, lambda old: old + old.splitlines(keepends=True)[number - 1])


def kept(name: str, *numbers: int) -> Damage:
    """Only these lines are left."""
    return _rewritten(
        name, lambda old: b"".join(old.splitlines(keepends=True)[n - 1] for n in numbers)
    )


def field(name: str, number: int, key: str, value: Any) -> Damage:
    """The value at a dotted key of one line is another; `...` removes the key."""
    return records(name, lambda rows: _set_inside(rows[number - 1], key, value))


def _set_inside(row: dict, key: str, value: Any) -> None:
    *parts, last = (int(part) if part.isdigit() else part for part in key.split("."))
    for part in parts:
        row = row[part]
    _set(row, last, value)


def records(name: str, change: Callable[[list[dict]], None]) -> Damage:
    """All lines, as a list of objects, are changed in place."""

    def rewrite(old: bytes) -> bytes:
        rows = [json.loads(text) for text in old.splitlines()]
        change(rows)
        return "".join(json.dumps(row) + "\n" for row in rows).encode()

    return _rewritten(name, rewrite)


def replaced(name: str, old: str, new: str) -> Damage:
    return _rewritten(name, lambda text: text.replace(old.encode(), new.encode()))


def setting(name: str, key: str, value: Any) -> Damage:
    """The value at a dotted key of a JSON file is another; `...` removes the key."""

    def rewrite(old: bytes) -> bytes:
        whole = json.loads(old)
        _set_inside(whole, key, value)
        return json.dumps(whole).encode()

    return _rewritten(name, rewrite)


def tensor(name: str, key: str, new: Callable[[np.ndarray], np.ndarray | None]) -> Damage:
    """One tensor of a safetensors file is another; None removes it."""

    def change(workspace: Path) -> None:
        tensors = load_file(workspace / name)
        changed = new(tensors.pop(key))
        more = {} if changed is None else {key: np.ascontiguousarray(changed)}
        save_file(tensors | more, workspace / name, metadata={"format": "pt"})

    return change


def folder(name: str) -> Damage:
    """A folder stands where the file was."""

    def change(workspace: Path) -> None:
        (workspace / name).unlink()
        (workspace / name).mkdir()

    return change

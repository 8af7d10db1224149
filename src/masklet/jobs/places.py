"""Where a batch's files lie: a folder, or an address that fsspec can reach (`s3://…`, `gs://…`, `memory://…`).

Credentials are found as each library finds them: in the environment, or in its own files.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from masklet.atomic import atomic_path, publish, temporary_name
from masklet.errors import BatchError, MaskletError
from masklet.media.patterns import is_pattern

#: Protocols under which a file appears as a whole or not at all. Elsewhere it gets its name once it is complete.
_WHOLE = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "oss", "memory"}
_NUMBER = re.compile(r"#+|@+|%0?\d*d")


def local_path(address: str) -> Path | None:
    """The path that an address stands for, `file://…` included; None for what lies elsewhere."""
    if "://" not in address:
        return Path(address).expanduser()
    parts = urlsplit(address)
    return Path(url2pathname(parts.path)) if parts.scheme == "file" else None


class Place:
    """Files by their names below a folder or an address. Every method raises BatchError where that can't be reached.

    Attributes:
        address: of the place; for a folder, its absolute path.
        folder: the same as a path; None where it isn't one.
    """

    def __init__(self, address: str | os.PathLike[str]) -> None:
        path = local_path(os.fspath(address))
        self.folder = None if path is None else path.absolute()
        self.address = os.fspath(address).rstrip("/") if self.folder is None else str(self.folder)
        if self.folder is None:
            self._fs, self._root = _file_system(self.address)

    def send(self, file: Path, name: str) -> None:
        """Copies a file there, where nobody ever sees half of it."""
        if self.folder is not None:
            with atomic_path(self.folder / name, error=BatchError) as new:
                shutil.copyfile(file, new)
            return
        path = self._path(name)
        with self._explained(name):
            if self._whole:
                self._fs.put_file(str(file), path)
                return
            above, _, last = path.rpartition("/")
            new_path = f"{above}/.{last}.{secrets.token_hex(4)}.part"
            self._fs.makedirs(above, exist_ok=True)
            self._fs.put_file(str(file), new_path)
            self._fs.mv(new_path, path)

    def send_all(self, folder: Path, name: str) -> None:
        """Copies all files of a folder there, below a name."""
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        names = [f"{name}/{path.relative_to(folder).as_posix()}" for path in files]
        if self.folder is not None or not self._whole:
            for file, target in zip(files, names, strict=True):
                self.send(file, target)
            return
        with self._explained(name):  # many at a time
            self._fs.put([str(file) for file in files], [self._path(target) for target in names])

    def fetch(self, name: str, to: Path) -> bool:
        """Copies a file from there. False: there is none."""
        new = temporary_name(to, BatchError)
        with self._explained(name):
            try:
                if self.folder is not None:
                    shutil.copyfile(self.folder / name, new)
                else:
                    self._fs.get_file(self._path(name), str(new))
                publish(new, to, error=BatchError, durable=False)  # a copy that this machine works on
            except FileNotFoundError:
                return False
            finally:
                new.unlink(missing_ok=True)
        return True

    def fetch_all(self, name: str, to: Path) -> bool:
        """Copies everything below a name from there. False: there is nothing."""
        if self.folder is not None:
            there = (self.folder / name).is_dir()
            if there:
                shutil.copytree(self.folder / name, to, dirs_exist_ok=True)
            return there
        with self._explained(name):
            self._fs.invalidate_cache()
            found = self._fs.find(self._path(name))
            targets = [to / PurePosixPath(path).relative_to(self._path(name)) for path in found]
            for folder in {target.parent for target in targets}:
                folder.mkdir(parents=True, exist_ok=True)
            if found:
                self._fs.get(found, [str(target) for target in targets])
            return bool(found)

    def remove(self, name: str) -> None:
        """Removes a file, if there is one, and what was left in a folder by whoever was killed while sending it."""
        with self._explained(name):
            if self.folder is not None:
                path = self.folder / name
                for left in [path, *path.parent.glob(f".{escape(path.name)}.*.part")]:
                    left.unlink(missing_ok=True)
                return
            with suppress(FileNotFoundError):
                self._fs.rm_file(self._path(name))

    @property
    def _whole(self) -> bool:
        protocol = self._fs.protocol
        return bool(_WHOLE & {*((protocol,) if isinstance(protocol, str) else protocol)})

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    @contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        try:
            yield
        except MaskletError:
            raise
        except Exception as problem:  # every file system has errors of its own
            raise BatchError(f"{self.address}/{name} can't be reached: {problem!r}.") from problem


def fetch_source(source: str, folder: Path) -> str:
    """The source as a path. What lies at an address is copied into a folder, unless it is there already.

    Raises BatchError: it isn't there, or can't be reached.
    """
    path = local_path(source)
    if path is not None:
        return str(path) if "://" in source else source
    parts = urlsplit(source)
    on_web = parts.scheme in ("http", "https")
    last = PurePosixPath(parts.path if on_web else source.rstrip("/")).name
    target = folder / last
    many = not on_web and is_pattern(last)
    if (folder if many else target).exists():
        return str(target)
    fs, address = _file_system(source)
    new = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
    try:
        new.mkdir(parents=True)
        if many:
            above = address.rpartition("/")[0]
            fs.get(fs.glob(f"{above}/{_NUMBER.sub('*', last)}"), f"{new}/")
        elif not on_web and fs.isdir(address):
            fs.get([path for path in fs.ls(address, detail=False) if fs.isfile(path)], f"{new / last}/")
        else:
            fs.get_file(address, str(new / last))
        new.replace(folder)
    except Exception as problem:
        raise BatchError(f"{source} can't be fetched: {problem!r}.") from problem
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return str(target)


def _file_system(address: str) -> tuple[Any, str]:
    """Of fsspec, and the path on it."""
    from fsspec.core import url_to_fs

    try:
        fs, path = url_to_fs(address)
    except ImportError as problem:  # says which package it needs
        raise BatchError(f"{address} can't be reached: {problem}.") from problem
    except Exception as problem:
        raise BatchError(f"{address} can't be reached: {problem!r}.") from problem
    return fs, str(path).rstrip("/")

# SPDX-License-Identifier: MIT
"""A folder of films in which somebody works at random: copies, replaces, renames, moves and removes files."""

from __future__ import annotations

import hashlib
import random
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(__file__).parents[2] / ".cache" / "daemon"

CLIPS = {"short": (0.4, "160x90"), "noisy": (0.6, "320x180"), "long": (2.0, "160x90")}
"""Seconds and size of the picture: 90 to 430 kB, one to four documents of 100 kB."""

MAX_FILES = 9
"""A removal of one or two of so many is never a mass disappearance, and a look at all of them is short."""


def make_base(kind: str) -> bytes:
    """Return a small MP4, made once."""
    path = CACHE / f"{kind}.mp4"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        seconds, size = CLIPS[kind]
        picture = f"testsrc2=s={size}:r=25:d={seconds},noise=alls=30:allf=t"
        made = CACHE / f"{kind}-{threading.get_ident()}.mp4"
        inputs = ["-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", f"sine=d={seconds}"]
        codecs = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "25", "-c:a", "aac"]
        ffmpeg = ["ffmpeg", "-nostdin", "-v", "error", "-y"]
        subprocess.run([*ffmpeg, *inputs, *codecs, str(made)], check=True, timeout=120)
        made.rename(path)
    return path.read_bytes()


def with_tail(film: bytes, tail: str) -> bytes:
    """Return another film that plays the same: an MP4 "free" box, whose contents nobody reads, behind it."""
    data = tail.encode()
    return film + (8 + len(data)).to_bytes(4, "big") + b"free" + data


@dataclass(frozen=True)
class Film:
    """What somebody put there, and must find again."""

    kind: str
    sha256: str
    mtime_ns: int


class World:
    """A source folder, what is in it, and somebody's hands."""

    def __init__(self, root: Path, chance: random.Random) -> None:
        self.root = root
        self.films: dict[str, Film] = {}
        """By path below the folder; what is there now."""
        self._chance = chance
        self._count = 0
        self._bases = {kind: make_base(kind) for kind in CLIPS}

    def act(self) -> str:
        """Do one thing that people do; return what."""
        names = sorted(self.films)
        choices = ["drop"] * (3 if len(names) < MAX_FILES else 0)
        if names:
            choices += ["replace", "rename", "rename", "touch"]
        if len(names) > 3:
            choices += ["remove", "remove", "rename_over"]
        action = self._chance.choice(choices)
        getattr(self, f"_{action}")(names)
        return action

    def _drop(self, names: list[str]) -> None:
        """A file comes: renamed into place, or growing under its name."""
        name = self._new_name()
        self._put(name, grows=self._chance.random() < 0.4)

    def _replace(self, names: list[str]) -> None:
        self._put(self._chance.choice(names), grows=self._chance.random() < 0.3)

    def _rename(self, names: list[str]) -> None:
        old, new = self._chance.choice(names), self._new_name()
        self._path(new).parent.mkdir(parents=True, exist_ok=True)
        self._path(old).rename(self._path(new))
        self.films[new] = self.films.pop(old)

    def _rename_over(self, names: list[str]) -> None:
        """One file takes the place of another, as when a better version comes."""
        old, new = self._chance.sample(names, 2)
        self._path(old).replace(self._path(new))
        self.films[new] = self.films.pop(old)

    def _touch(self, names: list[str]) -> None:
        name = self._chance.choice(names)
        self._path(name).touch()
        self._note(name, self.films[name].kind)

    def _remove(self, names: list[str]) -> None:
        name = self._chance.choice(names)
        self._path(name).unlink()
        del self.films[name]

    def remove(self, name: str) -> None:
        """Remove this file."""
        self._path(name).unlink()
        del self.films[name]

    def check_untouched(self) -> None:
        """Every source file is as it was left, and nothing else is there."""
        found = {str(path.relative_to(self.root)): path for path in self.root.rglob("*") if path.is_file()}
        assert sorted(found) == sorted(self.films)
        for name, path in found.items():
            film = self.films[name]
            assert path.stat().st_mtime_ns == film.mtime_ns, name
            assert hashlib.sha256(path.read_bytes()).hexdigest() == film.sha256, name

    def _put(self, name: str, *, grows: bool) -> None:
        self._count += 1
        kind = self._chance.choice([*CLIPS])
        data = with_tail(self._bases[kind], f"{self._count} {name}")
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if grows:
            with path.open("wb") as file:
                for start in range(0, len(data), len(data) // 3 + 1):
                    file.write(data[start : start + len(data) // 3 + 1])
                    file.flush()
                    time.sleep(self._chance.uniform(0, 0.15))
        else:
            part = path.with_name(f"{path.name}.part")
            part.write_bytes(data)
            part.rename(path)
        self._note(name, kind)

    def _note(self, name: str, kind: str) -> None:
        path = self._path(name)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        self.films[name] = Film(kind=kind, sha256=digest, mtime_ns=path.stat().st_mtime_ns)

    def _new_name(self) -> str:
        while True:
            number = self._chance.randrange(40)
            folder = self._chance.choice(["", f"Film {number} ({1980 + number})/", "Box set/Disc 1/"])
            name = f"{folder}Film {number} ({1980 + number}).mp4"
            if name not in self.films:
                return name

    def _path(self, name: str) -> Path:
        return self.root / name

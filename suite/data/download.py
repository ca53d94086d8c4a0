"""Downloads by pooch, with mirrors, that go on where they stopped; pooch is imported only where it is needed."""

import logging
import os
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from suite.data.errors import DataError
from suite.data.manifest import Archive

CHUNK = 1 << 16
"""Bytes received at a time; an interruption loses at most so many."""
TIMEOUT = (20.0, 60.0)
"""Seconds to connect and between two pieces."""


def several(wanted: list[Archive], folder: Path, by_hand: str, title: str) -> None:
    """Many files in a folder, by their paths, with one bar for all of them; those that are there are kept."""
    with _bar(title, sum(each.size or 0 for each in wanted)) as bar:
        for each in wanted:
            (folder / each.name).parent.mkdir(parents=True, exist_ok=True)
            archive(each, folder, by_hand, quiet=True)
            bar.update(each.size or 0)


def archive(wanted: Archive, folder: Path, by_hand: str, quiet: bool = False) -> Path:
    """An archive in a folder, from the first of its addresses that gives the right bytes; one that is there is kept.

    Raises DataError with the reasons of all addresses and with what can be done by hand.
    """
    try:
        import pooch
        import requests
    except ImportError:
        raise DataError(f'downloads need pooch: pip install "longseq-bench[data]". {by_hand}') from None
    pooch.get_logger().setLevel(logging.ERROR)
    known = f"sha256:{wanted.sha256}" if wanted.sha256 else f"md5:{wanted.md5}" if wanted.md5 else None
    reasons = []
    for url in wanted.urls:
        try:
            downloader: Any = _Resuming(folder, wanted, quiet)
            path = pooch.retrieve(url, known, fname=wanted.name, path=folder, downloader=downloader)
        except requests.RequestException as error:
            reasons.append(f"{url}: {_reason(error)}")
        except ValueError:
            reasons.append(f"{url}: other bytes than the manifest's hash {known}")
        else:
            return Path(path)
    raise DataError(f"{wanted.name} cannot be downloaded ({'; '.join(reasons)}). {by_hand}")


def _reason(error: Exception) -> str:
    """Why a request failed, in a few words."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"HTTP {response.status_code}"
    name = type(error).__name__
    if "Timeout" in name:
        return "no answer in time"
    known = {"ConnectionError": "no connection", "ChunkedEncodingError": "the connection broke off"}
    return known.get(name, f"{name}: {error!s:.80}")


def _bar(title: str, total: int | None, done: int = 0, quiet: bool = False) -> tqdm:
    """A bar of bytes."""
    return tqdm(
        total=total, initial=done, desc=title, unit="B", unit_scale=True, file=sys.stderr, disable=quiet,
        mininterval=0.1 if sys.stderr.isatty() else 30.0,
    )  # fmt: skip


class _Resuming:
    """A downloader for pooch that keeps an interrupted file and asks for the rest of it."""

    def __init__(self, folder: Path, wanted: Archive, quiet: bool) -> None:
        self.part, self.wanted, self.quiet = folder / f"{wanted.name}.part", wanted, quiet

    def __call__(self, url: str, output_file: Any, pooch: Any) -> None:
        """Download to the part file, then give it the name that pooch chose."""
        import requests

        done = self.part.stat().st_size if self.part.exists() else 0
        if self.wanted.size is None or done < self.wanted.size:
            headers = {"Range": f"bytes={done}-"} if done else {}
            with requests.get(url, stream=True, headers=headers, timeout=TIMEOUT) as response:
                if response.status_code != 416:  # what is there is all there is
                    response.raise_for_status()
                    self._receive(response, done if response.status_code == 206 else 0)
        os.replace(self.part, output_file)

    def _receive(self, response: Any, done: int) -> None:
        length = response.headers.get("Content-Length")
        total = self.wanted.size or (done + int(length) if length else None)
        with _bar(self.wanted.name, total, done, self.quiet) as bar, self.part.open("ab" if done else "wb") as file:
            for piece in response.iter_content(CHUNK):
                file.write(piece)
                bar.update(len(piece))

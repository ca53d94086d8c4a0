"""What vouches for original files of which no sha256 is published: the hash of the archive that they came out of.

Where such files are unpacked from an archive with the manifest's hash, `ROOT/raw/<folder>/.<name>.json` keeps their
sha256, as the manifest would state it. From then on they are compared with that.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import msgspec

from suite.data import raw, store
from suite.data.manifest import Archive, Manifest, Release, Sha256


def path(name: str, folder: Path) -> Path:
    """The file of a data set's seals in the folder of its original files."""
    return folder / f".{name}.json"


def known(description: Manifest, folder: Path) -> Release:
    """The release, with the sha256 of those of its files that came out of an archive of known hash."""
    seals, release = _read(path(description.name, folder)), description.release
    files = [
        msgspec.structs.replace(file, sha256=seals[file.name], unverified=None)
        if file.sha256 is None and file.name in seals
        else file
        for file in release.files
    ]
    return msgspec.structs.replace(release, files=files)


def write(description: Manifest, new: Path, folder: Path, vouched: Callable[[Path], bool]) -> None:
    """Seal those files in a `new` folder without a published hash that are `vouched` for by their archive.

    Seals of the folder that they will be moved into are kept, but for files that come anew.
    """
    seals = _read(path(description.name, folder))
    for file in description.release.files:
        if file.sha256 is not None or not (here := raw.matching(file, new)):
            continue
        seals.pop(file.name, None)
        if all(vouched(one) for one in here):
            seals[file.name] = raw.digest(file, new, here)
    if seals or path(description.name, folder).exists():
        path(description.name, new).write_bytes(msgspec.json.encode(seals, order="sorted"))


def genuine(file: Path, archives: list[Archive]) -> bool:
    """Whether a file is one of the release's archives, by a hash that the manifest knows."""
    return any(_is(file, archive) for archive in archives)


def _is(file: Path, archive: Archive) -> bool:
    if archive.unverified or archive.size not in (None, file.stat().st_size):
        return False
    if archive.sha256:
        return store.sha256(file) == archive.sha256
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "md5").hexdigest() == archive.md5


def _read(file: Path) -> dict[str, str]:
    """The sha256 by the manifest's names of files; a file of seals that is absent or damaged seals nothing."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, Sha256])
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return {}

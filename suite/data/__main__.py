"""The command line of the data layer: `python -m suite.data list|fetch|import|verify|prepare|doctor`."""

import argparse
import shlex
import dataclasses
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from reports import console
from suite.data import acquire, catalog, doctor, manifest
from suite.data.errors import CorruptData, DataError, SettingsError, UnknownData

_EPILOG = """\
data sets:
{data_sets}

exit status: 0 done, 1 data are missing, corrupt or cannot be written, 2 wrong arguments, 130 interrupted
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except (UnknownData, SettingsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; nothing half-made was kept", file=sys.stderr)
        return 130


def _interrupt(signum: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    data_sets = "\n".join(f"  {name:<16}{catalog.find(name).title}" for name in catalog.names())
    parser = argparse.ArgumentParser(
        prog="python -m suite.data",
        description="List, download, import, verify and prepare the benchmark's data sets, and say what is missing.",
        epilog=_EPILOG.format(data_sets=data_sets),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="list|fetch|import|verify|prepare|doctor")
    root = argparse.ArgumentParser(add_help=False)
    root.add_argument("--root", type=Path, default=None, help="folder of all data (default: $LONGSEQ_DATA or ./data)")

    listing = commands.add_parser("list", parents=[root], help="show the data sets and what is prepared of them")
    listing.set_defaults(run=_list)

    fetch = commands.add_parser("fetch", parents=[root], help="download the original files, verify and unpack them")
    fetch.add_argument("names", nargs="+", metavar="name", help="data sets of `list`")
    fetch.set_defaults(run=_fetch)

    importing = commands.add_parser("import", parents=[root], help="take the original files from a copy at hand")
    importing.add_argument("name", help="a data set of `list`")
    importing.add_argument("path", type=Path, help="an archive, or a folder with the files or archives somewhere in it")
    importing.set_defaults(run=_import)

    prepare = commands.add_parser(
        "prepare", parents=[root], help="prepare a data set, or mend it", argument_default=argparse.SUPPRESS
    )
    prepare.add_argument("name", help="a data set of `list`")
    prepare.add_argument("--jobs", type=int, default=None, help="cores to use (default: all)")
    prepare.add_argument(
        "--from", dest="released", type=Path, default=None, metavar="DIR",
        help="read the original release's files from this folder instead of generating",
    )  # fmt: skip
    for field in _fields().values():
        flag = f"--{field.name.replace('_', '-')}"
        prepare.add_argument(flag, dest=field.name, type=_reader(field), metavar="VALUE", help=f"setting of {field.of}")
    prepare.set_defaults(run=_prepare)

    verify = commands.add_parser("verify", parents=[root], help="hash everything original and prepared, and compare")
    verify.add_argument("names", nargs="*", metavar="name", help="data sets (default: all)")
    verify.set_defaults(run=_verify)

    examine = commands.add_parser("doctor", parents=[root], help="say what is here, whether it is whole, and what next")
    examine.add_argument("names", nargs="*", metavar="name", help="data sets (default: all)")
    examine.set_defaults(run=_doctor)
    return parser


@dataclasses.dataclass(frozen=True)
class _Field:
    """A setting as a flag: its name, the types that data sets give it, and which data sets have it."""

    name: str
    types: frozenset[type]
    of: str


def _fields() -> dict[str, _Field]:
    """The settings of all data sets by name."""
    found: dict[str, list[tuple[str, type]]] = {}
    for name in catalog.names():
        for field in dataclasses.fields(catalog.find(name).settings):
            found.setdefault(field.name, []).append((name, type(field.default)))
    everyone = len(catalog.names())
    return {
        name: _Field(
            name,
            frozenset(kind for _, kind in uses),
            "every data set" if len(uses) == everyone else ", ".join(data_set for data_set, _ in uses),
        )
        for name, uses in found.items()
    }


def _reader(field: _Field) -> Callable[[str], int | bool | str]:
    """Reads the text of a flag: an integer, true or false, or a name, whichever data sets expect."""

    def value(text: str) -> int | bool | str:
        if int in field.types and text.lstrip("-").isdigit():
            return int(text)
        if bool in field.types and text in ("true", "false"):
            return text == "true"
        if str in field.types:
            return text
        raise argparse.ArgumentTypeError(f"{text!r} is no {' or '.join(kind.__name__ for kind in field.types)}")

    return value


def _list(options: argparse.Namespace) -> int:
    root, broken = catalog.data_root(options.root), False
    for name in catalog.names():
        description = manifest.read(name)
        counts = ", ".join(f"{count:,} {split}" for split, count in description.splits.items()) or "any number"
        print(f"{name}: {description.title}; {counts}; {description.licence.spdx}")
        folders = catalog.prepared_folders(name, root)
        for folder in folders:
            try:
                meta = catalog.store.read_meta(folder)
            except CorruptData as error:
                print(f"  damaged: {folder}: {error}; remove it, or see python -m suite.data doctor {name}")
                broken = True
                continue
            print(f"  prepared: {folder}  {' '.join(f'{key}={value}' for key, value in meta.settings.items())}")
        if not folders:
            print(f"  not prepared in {root}")
    return 1 if broken else 0


def _fetch(options: argparse.Namespace) -> int:
    root = catalog.data_root(options.root)
    for name in options.names:
        catalog.find(name)
    for name in options.names:
        print(*acquire.fetch(name, root), sep="\n")
        print(f"next: {doctor.after_files(name, root)}")
    return 0


def _import(options: argparse.Namespace) -> int:
    root = catalog.data_root(options.root)
    catalog.find(options.name)
    print(*acquire.take(options.name, options.path, root), sep="\n")
    print(f"next: {doctor.after_files(options.name, root)}")
    return 0


def _doctor(options: argparse.Namespace) -> int:
    root = catalog.data_root(options.root)
    for name in options.names:
        catalog.find(name)
    findings = [doctor.examine(name, root) for name in options.names or catalog.names()]
    for found in findings:
        print(f"{found.name}\n  original files: {found.raw}\n  prepared: {found.prepared}")
        print(f"  next: {found.next or 'nothing to do'}")
    return 0 if all(found.healthy for found in findings) else 1


def _prepare(options: argparse.Namespace) -> int:
    settings = {name: value for name, value in vars(options).items() if name in _fields()}
    if options.jobs is not None and options.jobs < 1:
        raise SettingsError(f"--jobs must be at least 1, not {options.jobs}")
    prepared = catalog.prepare_dataset(
        options.name, options.root, released=options.released, jobs=options.jobs, **settings
    )
    print(f"{prepared.directory}: whole")
    return 0


def _verify(options: argparse.Namespace) -> int:
    root = catalog.data_root(options.root)
    names = options.names or catalog.names()
    folders = [(name, folder) for name in names for folder in catalog.prepared_folders(name, root)]
    places = ((name, catalog.place(name, root, {}).raw) for name in names)
    original = [(name, folder) for name, folder in places if acquire.present(manifest.read(name), folder)]
    if not folders and not original:
        print(f"error: nothing of {', '.join(names)} is prepared in {root}", file=sys.stderr)
        return 1
    status = 0
    for name, folder in original:
        try:
            print(acquire.verify(name, folder))
        except DataError as error:
            print(f"error: {error}", file=sys.stderr)
            status = 1
    for name, folder in folders:
        try:
            catalog.open_folder(folder, name, root)
            print(f"{folder}: whole")
        except DataError as error:
            print(f"error: {error}", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _interrupt)
    sys.exit(console.exit_status(main))

"""The command that removes what broken-off runs left: `clean`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from vidswap.commands.command import OTHER, PATH, Command, option_in
from vidswap.commands.messages import say_line

_option = option_in(OTHER)


@click.command(cls=Command, modules=("vidswap.media.segments",))
@click.argument("folder", type=PATH)
@_option("--all", "all_work", is_flag=True, help="Remove resumable work too.")
@_option("--dry-run", is_flag=True, help="Show what would be removed; do nothing.")
@_option("--json", "as_json", is_flag=True, help="Print as JSON.")
def clean(folder: Path, all_work: bool, dry_run: bool, as_json: bool) -> None:
    """Remove leftover work of outputs in FOLDER.

    A run that is killed leaves its work beside the output, to be resumed, and files that were not
    complete. Remove these and what belongs to finished outputs, and with --all the rest. Work of a
    running command stays.
    """
    from vidswap.errors import InputNotFoundError
    from vidswap.media.leftovers import left_in, remove_leftover
    from vidswap.media.segments import Work, remove_folder, work_in
    from vidswap.swap.cast import left_casts
    from vidswap.swap.first_pass import left_pass
    from vidswap.swap.plan_text import size_words

    if not folder.is_dir():
        raise InputNotFoundError(f"{folder}: no such folder; name the folder of the outputs")
    found = [(work, work.is_finished or all_work) for work in work_in(folder)]
    for cast in (*left_casts(folder), *left_pass(folder)):
        size = sum(path.lstat().st_size for path in cast.rglob("*"))
        found.append((Work(cast, False, size), all_work))
    files = left_in(folder)
    found += [(Work(f.path, False, f.n_bytes), all_work or not f.is_young) for f in files]
    in_the_making = {each.path for each in files}

    def is_removed(work: Work) -> bool:
        return (
            remove_leftover(work.path) if work.path in in_the_making else remove_folder(work.path)
        )

    removed = [w for w, is_due in found if is_due and (dry_run or is_removed(w))]
    kept = [work for work, _ in found if work not in removed]
    if as_json:
        names = {"removed": [str(w.path) for w in removed], "kept": [str(w.path) for w in kept]}
        click.echo(json.dumps(names, indent=2))
        return
    verb = "would remove" if dry_run else "removed"
    for work in removed:
        say_line(f"{verb} {work.path}, {size_words(work.n_bytes)}")
    for work in kept:
        why = "changed of late" if work.path in in_the_making else "unfinished"
        say_line(f"kept {work.path}, {size_words(work.n_bytes)}: {why}; --all removes it")
    if not found:
        say_line(f"{folder}: nothing to remove")

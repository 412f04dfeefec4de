"""The command line: a thin skin over `vidswap.swap_video` and the other jobs.

Nothing here, nor in the modules of the commands, imports torch, OpenCV or NumPy: a command does,
once it runs.
"""

from __future__ import annotations

import click

from vidswap.commands.batch import batch, exit_codes
from vidswap.commands.checks import bench, doctor, evaluate, info, verify
from vidswap.commands.clean import clean
from vidswap.commands.command import Program
from vidswap.commands.people import identity, people
from vidswap.commands.report import pairs, report
from vidswap.commands.swap import context, inpaint, preview, run, tune
from vidswap.commands.train import dataset, train
from vidswap.commands.ui import ui
from vidswap.version import __version__


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="vidswap")
def main() -> None:
    """Swap a face in a real video: the source's identity on the target's face.

    Pose, expression, gaze, light, hair, background and sound stay the target's.
    Every output is marked as synthetic in its metadata.
    """


@click.command("help")
@click.argument("command", nargs=-1)
@click.pass_context
def show_help(context: click.Context, /, command: tuple[str, ...]) -> None:
    """Show the help of a command: `vidswap help train apgan`."""
    assert context.parent is not None
    current = context.parent
    for name in command:
        group = current.command
        found = group.get_command(current, name) if isinstance(group, click.Group) else None
        if found is None:
            raise click.UsageError(f"No such command '{' '.join(command)}'.", current)
        current = click.Context(found, current, name)
    click.echo(current.get_help())


for command in (
    run, ui, batch, preview, inpaint, context, people, identity, tune, report, pairs, info, verify,
    doctor, bench, evaluate, train, dataset, clean, exit_codes, show_help,
):  # fmt: skip
    main.add_command(command)


if __name__ == "__main__":
    main()

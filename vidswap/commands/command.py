"""The kind of command that all of vidswap's are: grouped help, log, errors as one line."""

from __future__ import annotations

import copy
import importlib
import logging
import re
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar

import click

from vidswap.commands.messages import log_failure, logging_to, talk_of
from vidswap.errors import VidswapError
from vidswap.runtime.process import (
    INTERRUPTED,
    collection_put_off,
    configure_process,
    raising_on_interrupt,
)
from vidswap.runtime.text import escaped
from vidswap.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

F = TypeVar("F", bound=Callable[..., Any])
PATH = click.Path(path_type=Path)
OTHER = "Options"  # group of the options that name none
MESSAGES = "Messages"
_METAVARS = {"integer": "N", "float": "NUMBER", "path": "FILE"}
_GENERAL = {"--help", "--version"}  # click's own, which name no group
_BAD_USAGE = 2  # exit code, as of BadOptionError

logger = logging.getLogger(__name__)


# What click adds to a help text, such as "[default: 10]", is not to be broken at a line's end.
_UNBROKEN = re.compile(r"\[[^\]]{1,36}\]$")
_HARD_SPACE = "\u00a0"


def _with_hard_spaces(match: re.Match[str]) -> str:
    return match[0].replace(" ", _HARD_SPACE)


class GroupedOption(click.Option):
    """An option with a place in the help.

    group: heading that it stands under. concealed: flags that work but are not shown. unset: what
    its default None stands for. needed: shown as required, though others may do without it.
    """

    def __init__(
        self,
        *declarations: Any,
        group: str = OTHER,
        concealed: Sequence[str] = (),
        unset: str = "",
        needed: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(*declarations, **settings)
        self.group, self.concealed, self.unset, self.needed = group, concealed, unset, needed
        if self.metavar is None and not (self.is_flag or self.count):
            self.metavar = _METAVARS.get(self.type.name)

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        shown = copy.copy(self)
        shown.opts = [flag for flag in self.opts if flag not in self.concealed]
        shown.secondary_opts = [flag for flag in self.secondary_opts if flag not in self.concealed]
        record = super(GroupedOption, shown).get_help_record(ctx)
        return record and (record[0], _UNBROKEN.sub(_with_hard_spaces, record[1]))

    def get_help_extra(self, ctx: click.Context) -> Any:
        extra = super().get_help_extra(ctx)
        if self.unset:
            extra["default"] = self.unset
        if self.needed:
            extra["required"] = "required"
        return extra


class Decorator(Protocol):
    """What adds an option to a command."""

    def __call__(self, command: F, /) -> F: ...


def option_in(group: str) -> Callable[..., Decorator]:
    """`click.option` for options under one heading."""
    return partial(click.option, cls=GroupedOption, group=group)


def messages_options() -> list[click.Option]:
    """The options that every command has, before its name or after."""

    def verbose(context: click.Context, _: click.Parameter, value: int) -> None:
        talk_of(context).verbosity += value

    def log_file(context: click.Context, _: click.Parameter, value: Path | None) -> None:
        if value is not None:
            talk_of(context).log_file = value

    def debug(context: click.Context, _: click.Parameter, value: bool) -> None:
        talk_of(context).debug |= value

    return [
        GroupedOption(
            ["-v", "--verbose"], count=True, callback=verbose, expose_value=False, group=MESSAGES,
            help="Log what is done; -vv: in detail.",
        ),
        GroupedOption(
            ["--log-file"], type=PATH, callback=log_file, expose_value=False, group=MESSAGES,
            help="Append the log to this file.", is_eager=True,
        ),
        GroupedOption(
            ["--debug"], is_flag=True, callback=debug, expose_value=False, group=MESSAGES,
            help="Show the traceback of an error.", is_eager=True,
        ),
    ]  # fmt: skip


class _GroupedHelp(click.Command):
    """Adds the options of every command, and shows options by group."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.params += messages_options()

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and not isinstance(parameter, click.Argument):
                plain = MESSAGES if _GENERAL.intersection(parameter.opts) else OTHER
                groups.setdefault(getattr(parameter, "group", plain), []).append(record)
        for name in sorted(groups, key=MESSAGES.__eq__):
            with formatter.section(name):
                formatter.write_dl(groups[name])

    def get_help(self, ctx: click.Context) -> str:
        return super().get_help(ctx).replace(_HARD_SPACE, " ")


class Command(_GroupedHelp):
    """A command that does something.

    modules: what it needs, imported just before it runs, while Ctrl-C may still end the process
    at once.
    """

    def __init__(self, *arguments: Any, modules: Sequence[str] = (), **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.modules = modules

    def invoke(self, ctx: click.Context) -> Any:
        with logging_to(talk_of(ctx)):
            logger.info("version %s: %s", __version__, shlex.join(sys.argv[1:]))
            try:
                self._import_modules()
                with raising_on_interrupt():
                    return super().invoke(ctx)
            except (click.exceptions.Exit, SystemExit):
                raise
            except BaseException as error:
                log_failure(error)
                raise

    def _import_modules(self) -> None:
        if not self.modules:
            return
        from vidswap.faces.system_libraries import check_system_libraries

        with collection_put_off():
            check_system_libraries()
            for name in self.modules:
                importlib.import_module(name)


class CommandGroup(_GroupedHelp, click.Group):
    """Commands under one name."""

    command_class = Command
    group_class: type[click.Group] | type[type] | None = type

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)  # in the order they were added: the usual first

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_commands(ctx, formatter)
        super().format_options(ctx, formatter)


class Program(CommandGroup):
    """The whole command line: turns errors into one line and an exit code."""

    group_class = CommandGroup

    def main(self, *arguments: Any, **settings: Any) -> Any:
        configure_process()
        return super().main(*arguments, **settings)

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        with _usage_in_one_line():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _usage_in_one_line():
                return super().invoke(ctx)
        except VidswapError as error:
            _show_traceback(ctx)
            fail(str(error), error.exit_code)
        except KeyboardInterrupt as error:
            _show_traceback(ctx)
            fail(f"interrupted; {str(error) or 'nothing was written'}", INTERRUPTED)


@contextmanager
def _usage_in_one_line() -> Iterator[None]:
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        where = f"; see {error.ctx.command_path} --help" if error.ctx else ""
        fail(error.format_message().rstrip(".") + where, _BAD_USAGE)


def _show_traceback(context: click.Context) -> None:
    if talk_of(context).debug:
        traceback.print_exc()


def fail(message: str, exit_code: int) -> NoReturn:
    """Leave with one line on stderr."""
    click.echo(f"vidswap: {escaped(' '.join(message.split()))}", err=True)
    sys.exit(exit_code)

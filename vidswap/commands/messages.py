"""What a command says while it works: -v, --log-file and --debug."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from vidswap.errors import OutputNotWritableError
from vidswap.runtime.text import escaped, printable

LIBRARIES = ("PIL", "matplotlib", "numba", "torch")
_FILE_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)  # by the number of -v
_SHOWN = "shown"  # attribute of a record that the user has been told otherwise


@dataclass
class Talk:
    """How much is told. verbosity: number of -v; log_file: what is also written to a file."""

    verbosity: int = 0
    log_file: Path | None = None
    debug: bool = False


def talk_of(context: click.Context) -> Talk:
    """The one of a command line; all its contexts share it."""
    talk: Talk = context.meta.setdefault("vidswap.talk", Talk())
    return talk


@contextmanager
def logging_to(talk: Talk) -> Iterator[None]:
    """Within the block the package's log goes to stderr, and to the file from level info on.

    Raises OutputNotWritableError.
    """
    console = _Console(_LEVELS[min(talk.verbosity, len(_LEVELS) - 1)])
    handlers: list[logging.Handler] = [console]
    if talk.log_file is not None:
        handlers.append(_file_handler(talk.log_file, min(console.level, logging.INFO)))
    logger = logging.getLogger("vidswap")
    level, propagate = logger.level, logger.propagate
    logger.setLevel(min(handler.level for handler in handlers))
    logger.propagate = False  # a handler of another library would print everything again
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.ERROR)
    for handler in handlers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()
        logger.setLevel(level)
        logger.propagate = propagate


def say(text: str) -> None:
    """Print lines on stdout; what would steer the terminal is escaped."""
    click.echo(printable(text))


def say_line(text: str) -> None:
    """Print one line on stdout, whatever names are in it."""
    click.echo(escaped(text))


def log_failure(error: BaseException) -> None:
    """Put an error that the user is told in the log file as well, with its traceback."""
    words = " ".join(f"{type(error).__name__}: {error}".split())
    logging.getLogger(__name__).error(words, exc_info=error, extra={_SHOWN: True})


def warn(text: str, *, silent: bool = False) -> None:
    """Print a warning; where it is told otherwise (`silent`) it only goes to the log file."""
    logging.getLogger(__name__).warning(text, extra={_SHOWN: silent})


def _file_handler(path: Path, level: int) -> logging.Handler:
    try:
        handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise OutputNotWritableError(
            f"--log-file {path}: {error.strerror}; name a file that can be written"
        ) from error
    handler.setLevel(level)
    handler.setFormatter(_SafeFormatter(_FILE_FORMAT))
    return handler


class _SafeFormatter(logging.Formatter):
    """A message on one line, whatever it quotes; the lines of a traceback stay lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802, logging's own name
        record.message = escaped(record.message)
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


class _Console(logging.Handler):
    """Lines on stderr, above a progress bar where there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, _SHOWN, False):
            return
        kind = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        line = f"vidswap: {kind}{escaped(record.getMessage())}"
        if "tqdm" in sys.modules:
            sys.modules["tqdm"].tqdm.write(line, file=sys.stderr)
        else:
            click.echo(line, err=True)

"""`python -m vidswap` is the command line."""

from vidswap.runtime.process import leave_on_interrupt


def main() -> None:
    """The command line from its first import on, which Ctrl-C may already end."""
    leave_on_interrupt()
    from vidswap.commands.main import main

    main(prog_name="vidswap")


if __name__ == "__main__":
    main()

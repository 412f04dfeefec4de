"""`python -m vidswap` is the command line."""

from vidswap.commands.main import main

if __name__ == "__main__":
    main(prog_name="vidswap")

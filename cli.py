"""The command line from a checkout: `python cli.py run source.mp4 target.mp4 -o out.mp4`."""

from vidswap.__main__ import main

if __name__ == "__main__":
    main()

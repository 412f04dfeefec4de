"""The version of the package, as installed or as in the checkout's pyproject.toml."""

__version__ = "0.1.0"

"""The one version number: the build reads it, and every output carries it."""

__version__ = "0.1.2"

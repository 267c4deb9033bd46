"""Delivers what Claude Code writes and edits to an intelligence API."""

from pattern_tracker.version import __version__

__all__ = ["__version__"]

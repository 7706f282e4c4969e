"""Suites that ship with the package, by file name."""

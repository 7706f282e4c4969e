"""Importing libraries that talk while they are imported."""

from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from types import ModuleType


def import_quietly(name: str, loggers: Sequence[str]) -> ModuleType:
    """The module, imported without Python warnings and without what those loggers say below an error."""
    with ExitStack() as stack:
        for logger in map(logging.getLogger, loggers):
            stack.callback(logger.setLevel, logger.level)
            logger.setLevel(logging.ERROR)
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        return importlib.import_module(name)

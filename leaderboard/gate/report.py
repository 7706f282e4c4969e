"""The verdict as JSON, for programs: every finding, with all that is known of it."""

from __future__ import annotations

import json
from dataclasses import asdict

from .verdict import Verdict

VERSION = 1


def render(verdict: Verdict) -> str:
    """A verdict as strict JSON."""
    content = {
        "report_version": VERSION,
        "digest": verdict.digest,
        "exit_code": verdict.exit_code,
        "cells": {"base": verdict.n_base, "new": verdict.n_new},
        "counts": {one.value: count for one, count in verdict.counts.items()},
        "notes": verdict.notes,
        "findings": [
            {**asdict(finding), "verdict": finding.verdict.value, "step": finding.step} for finding in verdict.findings
        ],
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

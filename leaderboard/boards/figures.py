"""How figures are written: as many digits as their interval warrants, sizes and shares that people can read."""

from __future__ import annotations

import math

from ..record import Measurement

NO_VALUE = "–"
_SIGNIFICANT_DIGITS = 4
"""Where there is no interval to tell how many digits mean something."""
_INTERVAL_DIGITS = 2
_MOST_DECIMALS = 6


def figure(measurement: Measurement | None) -> str:
    """`value ± half the interval's width`, the value alone without an interval, or a dash without a value."""
    if measurement is None or measurement.value is None:
        return NO_VALUE
    half = (measurement.ci[1] - measurement.ci[0]) / 2 if measurement.ci is not None else 0.0
    decimals = _decimals(half, _INTERVAL_DIGITS)
    # An interval narrower than the last digit says no more than that digit does.
    if half <= 0.0 or decimals > _MOST_DECIMALS:
        return number(measurement.value)
    return f"{fixed(measurement.value, decimals)} ± {fixed(half, decimals)}"


def number(value: float, digits: int = _SIGNIFICANT_DIGITS) -> str:
    """A figure without an interval."""
    if value == 0.0:
        return "0"
    decimals = _decimals(abs(value), digits)
    if decimals > digits + _MOST_DECIMALS:
        return f"{value:.1e}"
    return fixed(value, decimals)


def fixed(value: float, decimals: int) -> str:
    """A figure with so many decimals; what rounds to zero has no sign."""
    text = f"{value:.{decimals}f}"
    return text.removeprefix("-") if float(text) == 0.0 else text


def size(size_bytes: float, dense_bytes: float | None) -> str:
    """A size in decimal units and, where the dense size is known, what share of it that is."""
    shown = _in_units(size_bytes)
    return f"{shown} ({share(size_bytes / dense_bytes)})" if dense_bytes else shown


def duration(seconds: float) -> str:
    """Whole seconds, tenths below ten; what took any time at all never took none."""
    if seconds >= 9.95 or seconds == 0:
        return f"{seconds:.0f} s"
    return f"{seconds:.1f} s" if seconds >= 0.05 else "under 0.1 s"


def share(fraction: float) -> str:
    """A fraction as a percentage, without decimals where they would say nothing."""
    percent = 100.0 * fraction
    return f"{percent:.0f} %" if percent >= 10.0 or percent == 0.0 else f"{percent:.2g} %"


def _decimals(scale: float, digits: int) -> int:
    """Decimals that show so many significant digits of a number of that size."""
    if scale <= 0.0:
        return 0
    return max(0, digits - 1 - math.floor(math.log10(scale)))


def _in_units(size_bytes: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        # Three digits at most: 999.6 kB is 1.00 MB.
        if size_bytes < 999.5:
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.3g} {unit}"
        size_bytes /= 1000.0
    return f"{size_bytes:.1f} TB"

"""Exact decimals as integers: a price of 61837.63 with 8 decimals is 6183763000000 units."""


def to_text(units: int, decimals: int) -> str:
    """`units` of 10^-`decimals` as Binance prints them: always all decimals, `0.00010000`."""
    if decimals == 0:
        return str(units)
    digits = str(abs(units)).zfill(decimals + 1)
    sign = "-" if units < 0 else ""
    return f"{sign}{digits[:-decimals]}.{digits[-decimals:]}"


def to_units(text: str, decimals: int) -> int:
    """The decimal number `text` in units of 10^-`decimals`. Raises ValueError where it does not fit."""
    whole, _, fraction = text.partition(".")
    if len(fraction) > decimals:
        if fraction[decimals:].strip("0"):
            raise ValueError(f"{text} has more than {decimals} decimals")
        fraction = fraction[:decimals]
    return int(whole + fraction.ljust(decimals, "0"))


def decimals_used(text: str) -> int:
    """How many digits after the point of `text` matter: 2 for `61837.63000000`."""
    return len(text.partition(".")[2].rstrip("0"))


def ratio_text(numerator: int, denominator: int, decimals: int) -> str:
    """The quotient, cut off after `decimals` digits; `0.00` where the denominator is 0."""
    scaled = abs(numerator) * 10**decimals // denominator if denominator else 0
    return to_text(-scaled if numerator < 0 else scaled, decimals)

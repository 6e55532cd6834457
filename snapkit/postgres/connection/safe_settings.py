"""Settings that change how text is written or read, and what they are in each session of ours.

A role or a database may have any of them otherwise, and any role may set each of them for its own session.
https://www.postgresql.org/docs/current/runtime-config-client.html, .../runtime-config-compatible.html
"""

from __future__ import annotations

from typing import Final

CONVERSIONS: Final = {
    "DateStyle": "ISO, MDY",  # psycopg reads no other
    "IntervalStyle": "postgres",  # nor here
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "array_nulls": "on",  # else the text NULL in an array is a word of four letters
    "xmloption": "content",
    "xmlbinary": "base64",
    "quote_all_identifiers": "off",
    "standard_conforming_strings": "on",
    "backslash_quote": "safe_encoding",
    "escape_string_warning": "on",
    "transform_null_equals": "off",
}
"""The same for every session and program of ours, whatever database it is in."""

OF_PLACE: Final = {
    "TimeZone": "UTC",  # of an unknown one psycopg complains on stderr
    "lc_monetary": "C",
    "lc_numeric": "C",
    "lc_time": "C",
}
"""The same wherever values are only shown. Where rows are loaded anew, constraints go by what the source has."""

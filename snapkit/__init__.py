"""snapkit: the undo button of a PostgreSQL database."""

__version__ = "0.1.0"

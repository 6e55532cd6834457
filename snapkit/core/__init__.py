"""Decisions, as pure functions over frozen values. Standard library only: no server, no clock, no environment."""

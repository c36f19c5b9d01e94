"""Strategies to run and to copy."""

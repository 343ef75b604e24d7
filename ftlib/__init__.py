"""Teach an instruct model your own code base and documents on one GPU, and measure what it learned and forgot."""

__version__ = "0.1.0"

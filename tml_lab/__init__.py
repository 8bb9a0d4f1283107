"""TML Lab: a workbench that opens up the interaction model."""

__version__ = "0.1.0"

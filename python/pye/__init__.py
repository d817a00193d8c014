"""Imports modules from pye packages: files whose constants are mapped, not read, so that processes share them."""

"""Declared content of run folders and studies: every table and every key; docs/formats.md is generated from it."""

"""Recorder of a run, its folder, summary and warnings."""

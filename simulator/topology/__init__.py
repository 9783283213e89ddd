"""Graphs: generators, overlays, repair under churn, files and mixing matrices."""

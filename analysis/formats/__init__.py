"""What is in run folders and studies: every table, every key, what it means; docs/formats.md is made from it."""

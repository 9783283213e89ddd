"""The format of scenario files: tables, units, places in files and observers."""

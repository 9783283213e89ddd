"""Reading run and study folders: tables, figures, reports, timelines. Never imports a running world."""

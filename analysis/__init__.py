"""Reading what runs left behind: tables, figures, reports, timelines. Never sees a live world."""

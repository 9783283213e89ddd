"""Messages between nodes: mailboxes, waiting for them, and sending them to many."""

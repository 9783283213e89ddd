"""Links, latency, packet loss and bandwidth: when a message arrives."""

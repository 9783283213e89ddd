"""What Byzantine nodes do, as pure functions on vectors."""

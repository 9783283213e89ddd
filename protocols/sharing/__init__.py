"""How a real vector becomes ring elements that can be shared or masked, and back."""

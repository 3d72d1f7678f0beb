"""What the platform costs, in numbers."""

"""Who gets in, and how much of it: visitors, what they are granted, and what they may use up."""

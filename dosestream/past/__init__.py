"""What the dose database said at a time, and which message changed it: answered from the topics alone."""

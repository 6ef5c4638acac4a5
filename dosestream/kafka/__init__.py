"""Topics as data, and what every service needs to reach the broker."""

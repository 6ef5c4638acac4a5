"""How a service is: metrics for Prometheus, and health for whoever starts it again."""

"""What runs after what: Prefect flows, the deployments made of them, and the command line."""

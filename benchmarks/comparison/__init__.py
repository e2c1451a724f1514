"""Our samplers beside deepinv's, on the same pictures and the same prior."""

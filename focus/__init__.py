"""The global focus: registry of bridges, placement, routes, conferences, failover."""

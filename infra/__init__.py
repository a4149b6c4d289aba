"""What touches the world: settings, stores, workspace, cluster, command line."""

"""The Ray cluster in use: session, token, nodes, storage, ports; and a local test cluster."""

"""Programs that run in processes of their own: the endpoint, the engine, and its peers."""

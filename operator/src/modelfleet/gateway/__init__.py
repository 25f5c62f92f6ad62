"""Envoy's configuration from the route model, and the server that hands it out. Must not decide what is served."""

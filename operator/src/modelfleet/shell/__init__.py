"""The thin shell around the core: watches, queue, gathering, executing, telemetry."""

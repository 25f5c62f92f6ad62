"""The process between Kubernetes and an inference engine; standard library only."""

"""modelfleet.dev/v1alpha1: the models of LLMDeployment."""

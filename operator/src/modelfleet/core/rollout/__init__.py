"""How many replicas each revision should have next, so that a new one takes over safely."""

"""Tests and demo on real Kubernetes: the embedded cluster, the doubles of what cannot be had, the scenarios."""

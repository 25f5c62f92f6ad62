"""When the user's own cluster is meant."""

from __future__ import annotations

from pathlib import Path

from e2e.cluster import external


def test_without_kubeconfig_the_embedded_cluster_is_meant(monkeypatch):
    monkeypatch.delenv("KUBECONFIG", raising=False)
    assert external.configured() is None


def test_kubeconfig_means_the_users_own_cluster(monkeypatch):
    monkeypatch.setenv("KUBECONFIG", "/home/someone/.kube/config")
    assert external.configured() == Path("/home/someone/.kube/config")


def test_a_kubeconfig_of_the_embedded_cluster_is_not_a_users_own(monkeypatch, tmp_path):
    monkeypatch.setattr(external, "STATE_DIR", tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "whole" / "kubeconfig" / "admin"))
    assert external.configured() is None

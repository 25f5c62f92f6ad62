"""From a spec to manifests. Pure: the same words and settings give the same manifests."""

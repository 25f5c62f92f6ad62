"""The embedded cluster in its three levels. It must not know what is tested on it."""

"""Which request goes where, in words that no particular gateway owns. Pure, like all of the core."""

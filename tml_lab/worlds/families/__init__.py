"""Task families: each file plays one kind of scene on a `Stage`."""

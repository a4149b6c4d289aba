"""Publishing: manifest, layout and the commit protocol."""

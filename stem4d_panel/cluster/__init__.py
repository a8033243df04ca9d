"""From components to a tree of similar ones, and to classes."""

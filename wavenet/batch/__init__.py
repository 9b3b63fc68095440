"""Many clips from a list, on several workers, that survive whatever stops them."""

"""Video services: the seam (`base`), what every provider needs, and the built-in ones in `families`."""

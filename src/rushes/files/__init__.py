"""Files of videos: the archive, downloads out of it, checks, pictures and links."""

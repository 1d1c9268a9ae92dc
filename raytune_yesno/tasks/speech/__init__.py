"""Recognition of a small spoken vocabulary: recordings, features, networks, decoding."""

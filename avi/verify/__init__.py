"""The oracle suite: avi's own code against answers that are known exactly."""

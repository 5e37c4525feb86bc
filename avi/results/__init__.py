"""What a run writes: one typed record of each thing, with its writer and its tolerant reader."""

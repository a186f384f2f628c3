"""A trace as a waterfall: a tree whose clocks agree, whose halves are joined and whose repeats are folded."""

"""The training set: who is held out, panels and crops cut from pages, sizes, and the conditions of a step."""

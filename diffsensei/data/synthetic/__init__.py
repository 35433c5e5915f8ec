"""The synthetic world: procedurally drawn manga with exact annotations, a pure function of its seed.

It stands in for MangaZero (paper sec. 3) where nothing may be downloaded. `page.draw_page` draws one double page,
`panel.draw_panel` one panel of any size, `world.draw_world` writes the whole data set.
"""

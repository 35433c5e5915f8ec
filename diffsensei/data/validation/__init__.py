"""From page images and annotations to accepted pages: stitched, checked, set aside with reasons, counted."""

"""What every report of a measurement looks like: one page, charts as SVG."""

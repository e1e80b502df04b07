"""The report of a run: one HTML file of everything that it left, which needs nothing else.

What a task shows of a case is an `Exhibit`: the name of its kind, named pictures, and facts in JSON's values. By
default `Task.exhibit` makes it of what `evaluate` draws; a task chooses the kind by `exhibit_kind` (and tells it by
`exhibit_facts`) or returns an exhibit of its own from `exhibit`, which is called directly after `evaluate` and only for
cases that may be shown. `Showcase` keeps the best, the median and the worst in `showcase_<stage>/` of the run folder.

A kind is one file `template/kinds/<kind>.html.j2`, with `<kind>.css` and `<kind>.js` beside it where it needs them. The
template is given `exhibit`, a `read.Shown`, whose pictures have a `title`, `source` (a data URI), `width` and `height`;
the script finds its elements by a class and runs once, after the page is there. Both are in the page only if it has
such an exhibit. Pictures (H, W, 3) and (H, W, 4) may be made smaller until the report is small enough; (H, W) stay as
they are, to the last value, so a task keeps them small.
"""

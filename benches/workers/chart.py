"""The chart of the memory at stage C: a self-contained SVG, legible on light and on dark pages."""
from statistics import median
from xml.sax.saxutils import escape

import report
from contenders import MODES
from table import mb

# Places in pixels: the name's column ends where the first bars begin.
WIDTH, NAMES, GAP, MARGIN = 880, 110, 100, 20
ROW, BAR, HEAD, BLOCK = 18, 12, 24, 34
STAGE, WORST = "C", "D"

STYLE = """
  svg { --page: #ffffff; --ink: #1f2328; --soft: #59636e; --rule: #d1d9e0; --stock: #8c959f; --other: #b6bec7; --pye: #0969da; }
  @media (prefers-color-scheme: dark) {
    svg { --page: #0d1117; --ink: #e6edf3; --soft: #9198a1; --rule: #3d444d; --stock: #8b949e; --other: #57606a; --pye: #4493f8; }
  }
  text { font: 12px system-ui, -apple-system, "Segoe UI", "Noto Sans", "DejaVu Sans", sans-serif; fill: var(--ink); }
  .title { font-size: 16px; font-weight: 600; } .block { font-size: 14px; font-weight: 600; } .soft { fill: var(--soft); }
  .page { fill: var(--page); } .rule { stroke: var(--rule); } .worst { stroke: var(--ink); stroke-width: 1.5; }
  .stock { fill: var(--stock); } .other { fill: var(--other); } .pye { fill: var(--pye); }
"""


def draw(results):
    """The SVG. Of several numbers of workers the smallest is drawn."""
    workers = min(one["workers"] for one in results["memory"])
    those = [one for one in results["memory"] if one["workers"] == workers]
    about = results["about"]
    parts, y = [], MARGIN + 14
    parts.append(_text(MARGIN, y, "Memory of %d workers after real work" % workers, "title"))
    y += 20
    parts.append(_text(MARGIN, y, "%s · bar: stage %s (after work and gc.collect()) · tick: stage %s (every object referenced once, the worst "
                       "case)" % (about["interpreter"].split(",")[0], STAGE, WORST), "soft"))
    for workload in dict.fromkeys(one["workload"] for one in those):
        y += BLOCK
        block = [one for one in those if one["workload"] == workload]
        width = (WIDTH - 2 * MARGIN - NAMES - 2 * GAP) / 2
        left, right = MARGIN + NAMES, MARGIN + NAMES + width + GAP
        parts.append(_text(MARGIN, y, workload, "block"))
        parts.append(_text(left, y, "USS of each worker, MB: C / D", "soft"))
        parts.append(_text(right, y, "PSS of all, parents included, MB: C / D", "soft"))
        scales = [(left, report.worker_uss), (right, report.total_pss)]
        scales = [(x, of, width / max(_value(one, of, stage) for one in block for stage in (STAGE, WORST))) for x, of in scales]
        for mode in MODES:
            rows = [one for one in block if one["mode"] == mode]
            if not rows:
                continue
            y += HEAD
            parts.append('<line class="rule" x1="%d" y1="%.1f" x2="%d" y2="%.1f"/>' % (MARGIN, y - 15.5, WIDTH - MARGIN, y - 15.5))
            parts.append(_text(MARGIN, y, mode, "soft"))
            for one in rows:
                y += ROW
                parts.append(_text(left - 8, y, one["contender"], "", ' text-anchor="end"'))
                for x, of, scale in scales:
                    value, worst = _value(one, of, STAGE), _value(one, of, WORST)
                    parts.append('<rect class="%s" x="%.1f" y="%.1f" width="%.1f" height="%d" rx="1.5"/>' % (
                        _kind(one["contender"]), x, y - BAR + 2, value * scale, BAR))
                    parts.append('<line class="worst" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>' % (
                        x + worst * scale, y - BAR + 1, x + worst * scale, y + 3))
                    parts.append(_text(x + max(value, worst) * scale + 5, y, "%s / %s" % (mb(value), mb(worst)), "soft"))
    height = y + MARGIN + 4
    description = "Bars of memory by workload, launch mode and contender; the figures stand beside them."
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img" aria-label="%s">\n<style>%s</style>\n'
        '<rect class="page" width="%d" height="%d" rx="6"/>\n%s\n</svg>\n'
        % (WIDTH, height, WIDTH, height, description, STYLE, WIDTH, height, "\n".join(parts)))


def _value(one, of, stage):
    """The median of the rounds, bytes."""
    return median(of(round_, stage) for round_ in one["rounds"])


def _kind(name):
    return "pye" if name.startswith("pye") else "stock" if name == report.BASE else "other"


def _text(x, y, text, kind, more=""):
    return '<text x="%.1f" y="%.1f"%s%s>%s</text>' % (x, y, ' class="%s"' % kind if kind else "", more, escape(text))

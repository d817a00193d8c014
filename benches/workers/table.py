"""Tables for people and for RESULTS.md: the first column to the left, the others to the right. As benches/codec prints them."""


def table(rows, markdown):
    """The text of a table whose first row is its header, each line ended. Columns that are empty but for the header are left out."""
    columns = [column for column in zip(*rows) if any(column[1:])]
    rows = list(zip(*columns))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for number, row in enumerate(rows):
        cells = [cell.ljust(width) if column == 0 else cell.rjust(width) for column, (cell, width) in enumerate(zip(row, widths))]
        lines.append("| %s |" % " | ".join(cells) if markdown else "  ".join(cells).rstrip())
        if number == 0 and markdown:
            lines.append("| %s |" % " | ".join(["---"] + ["---:"] * (len(row) - 1)))
    return "".join(line + "\n" for line in lines)


def mb(value):
    """Bytes in MB (10^6 bytes) with one digit."""
    return "%.1f" % (value / 1e6)


def ratio(value, base):
    """How many times the base."""
    return "–" if not base else "%.3f" % (value / base)

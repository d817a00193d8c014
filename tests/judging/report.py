"""What all judges print of differences."""


def told(results):
    """Lines on the differences of `results`, explained or not, and on explanations that are not needed any more."""
    lines = []
    for title, wanted in (("Explained", True), ("UNEXPLAINED", False)):
        found = [each for each in results["differences"] if (each["reason"] is not None) == wanted]
        if found:
            lines += ["", "%s: %d" % (title, len(found))]
            lines += table([["form", "stock", "pye", "test"]] + [[each["form"], each["stock"], each["pye"], each["test"]] for each in found])
    for each in results["differences"]:
        if each["reason"] is None:
            lines += ["", "---- %s (%s)" % (each["test"], each["form"])] + each["detail"].rstrip().splitlines()
    if results["explained and gone"]:
        lines += ["", "Explained in the list, and not different any more:"]
        lines += table([[each["form"], each["name"]] for each in results["explained and gone"]])
    return lines


def table(rows):
    """Aligned lines: columns of numbers to the right, others to the left."""
    columns = list(zip(*rows))
    widths = [max(map(len, column)) for column in columns]
    right = [all(cell.replace(".", "").isdigit() or not cell for cell in column[1:]) and any(column[1:]) for column in columns]
    return ["  ".join(cell.rjust(width) if to_right else cell.ljust(width) for cell, width, to_right in zip(row, widths, right)).rstrip() for row in rows]

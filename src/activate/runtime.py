# In front of the scripts that tell of an interpreter: where its own objects are.
def runtime():
    """The file that the interpreter's own objects belong to, as bytes, and where its first byte is mapped; None when /proc does not tell."""
    files = {}
    found = None
    try:
        with open("/proc/self/maps", "rb") as maps:
            for line in maps:
                fields = line.rstrip(b"\n").split(None, 5)
                start, end = [int(part, 16) for part in fields[0].split(b"-")]
                name = fields[5] if len(fields) > 5 else None
                files.setdefault(name, start)
                if start <= id(type) < end:
                    found = name
    except (IOError, OSError):
        return None
    return None if found is None else (found, files[found])



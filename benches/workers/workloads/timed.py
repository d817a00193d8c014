"""timed.py DIRECTORY FD: imports the workload in DIRECTORY and writes to FD, as JSON, when that began and ended (seconds of the
monotonic clock, which all processes share) and the processor time of this process until then."""
import sys
import time

sys.path[0] = sys.argv[1]
began = time.monotonic()
import imports

ended = time.monotonic()
cpu = time.process_time()

import json
import os

os.write(int(sys.argv[2]), json.dumps([began, ended, cpu]).encode())

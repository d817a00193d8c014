"""What `pye estimate` says of a workload before anything is adopted."""
import json
import os
import subprocess
import tempfile

import timing
from activation import Activation


def forecast(environment, workload, pye):
    """Of a process that imports the workload as it does without pye: for each launch mode what each worker would save, in bytes; None
    when this Python cannot have the portable form."""
    with tempfile.TemporaryDirectory(dir=environment.scratch) as scratch, open(os.devnull, "w") as sink:
        report = os.path.join(scratch, "forecast.json")
        activation = Activation(prefix=[*pye, "estimate", "--json", "--output", report, "--"])
        subprocess.run(timing.imports_command(environment, workload, activation, sink.fileno()), check=True,
                       env=activation.environment(environment), pass_fds=[sink.fileno()])
        with open(report) as file:
            launch = json.load(file)["launch"]
    return launch and {mode["mode"]: mode["each_worker_saves"] for mode in launch["modes"]}

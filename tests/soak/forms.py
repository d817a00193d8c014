"""The forms that serve the application, and how each is activated."""
import subprocess

import packages
import tracing
import ways
from activation import Activation

STOCK, PORTABLE, IMAGE = "stock", "portable", "image"
FORMS = (PORTABLE, IMAGE)


class Served:
    """How an application is served in one form: `activation`, and `pairs`, of each root and its package file, of which the last is that
    of the application itself."""

    def __init__(self, activation, pairs, relink):
        self.activation = activation
        self.pairs = pairs
        self._relink = relink

    @property
    def packages(self):
        return [package for _, package in self.pairs]

    def relink(self):
        """Links the application anew, as after an upgrade."""
        if self._relink is not None:
            self._relink(*self.pairs[-1])


def prepare(form, measured, workload, pye):
    """The form, with its packages linked; site-packages and the standard library as the worker benchmark has them."""
    application = workload.directory(measured)
    subprocess.run([str(measured.python), "-m", "compileall", "-q", str(application)], check=True)
    if form == STOCK:
        ways.warm(measured, workload, Activation())
        return Served(Activation(), [], None)
    if form == PORTABLE:
        def link(root, package):
            packages.link(pye, root, package)
    else:
        profile = tracing.profile(measured, workload, pye)

        def link(root, package):
            packages.link_image(pye, root, package, measured, profile)
    roots = [*((measured.about[name], name) for name in ways.ROOTS), (application, "application")]
    pairs = [(root, measured.work / ("%s-%s.pye" % (form, name))) for root, name in roots]
    for root, package in pairs:
        link(root, package)
    return Served(packages.activation(measured, pye, pairs, image=form == IMAGE), pairs, link)


def not_in_use(form, status):
    """Why a worker that gives this `pye.status()` is not served in the form; None if it is."""
    if form == STOCK:
        return None if status is None else "pye is active under stock"
    if status is None:
        return "pye is not active"
    if form == IMAGE:
        return packages.why_no_image(status)
    stores = [store for each in status["activations"] for store in (each["loaded"] or {}).get("stores", [])]
    if not stores:
        return next((each["reason"] for each in status["activations"] if each["reason"]), "no package is active")
    if not any(each["loaded"]["modules_with_mapped_text"] for each in status["activations"] if each["loaded"]):
        return "no module has its text mapped"
    return None

"""The Celery application. Tasks run in the process that asks for them: no broker is needed."""
from celery import Celery

application = Celery("project")
application.conf.update(task_always_eager=True, task_eager_propagates=True, timezone="UTC")
application.autodiscover_tasks(["project.library"])

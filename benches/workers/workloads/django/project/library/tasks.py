"""What happens besides answering."""
import requests
from celery import shared_task


@shared_task
def order(slug, copies):
    """Makes the request that would order copies of a book from a dealer. It is not sent: there is no dealer."""
    request = requests.Request("POST", "https://dealer.example/orders", json={"book": slug, "copies": copies})
    prepared = request.prepare()
    return {"method": prepared.method, "url": prepared.url, "headers": dict(prepared.headers), "body": prepared.body.decode()}

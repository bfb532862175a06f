"""Follows the outcomes of one session, from a back end, and prints each as a line of JSON. Needs nothing but Python.

A connection that breaks is made anew, and goes on after the last message that came: nothing is lost that the edge still keeps.
"""

import argparse
import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.request

SILENCE = 50  # seconds; the edge says something every 15
PAUSE = 1  # seconds before a connection is made anew
PATIENCE = 60  # seconds without an edge


def events(answer):
    """Gives the id and the data of each event (HTML Standard section 9.2)."""
    event, data = "", []
    for line in answer:
        name, _, value = line.decode().rstrip("\r\n").partition(":")
        value = value.removeprefix(" ")
        if name == "id":
            event = value
        elif name == "data":
            data.append(value)
        elif not name and data:  # an empty line ends an event; a comment has no name either, but stands between events
            yield event, "\n".join(data)
            data = []


def follow(edge, session, token="", after="0"):
    """Gives the session's messages after the one named, "0" for all that are kept, until the session ends."""
    reached = time.monotonic()
    while True:
        request = urllib.request.Request(f"{edge}/sessions/{session}/results", headers={"Last-Event-ID": after})
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=SILENCE) as answer:
                if answer.status == 204:  # all of it has been seen, and the session is over
                    return
                reached = time.monotonic()
                for event, data in events(answer):
                    after = event or after
                    message = json.loads(data)
                    yield message
                    if "summary" in message:
                        return
        except (OSError, http.client.HTTPException) as trouble:
            refused = isinstance(trouble, urllib.error.HTTPError) and trouble.code < 500  # 404: no such session; 401: a wrong token
            if refused or time.monotonic() - reached > PATIENCE:
                raise
            print(f"once more: {trouble}", file=sys.stderr)
        time.sleep(PAUSE)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("session", help="public id of the session, which the page knows: session.id")
    parser.add_argument("--edge", default="http://127.0.0.1:8080", help="address of the edge")
    options = parser.parse_args()
    for message in follow(options.edge, options.session, os.environ.get("SLUICE_TOKEN", "")):
        if "outcome" in message:
            print(json.dumps(message["outcome"]), flush=True)
        elif "skipped" in message:
            print(f"{message['skipped']} outcomes were skipped", file=sys.stderr)


if __name__ == "__main__":
    main()

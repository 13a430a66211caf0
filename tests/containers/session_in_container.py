"""Runs inside of the container's file system, as its user: the server's own command, the health check, a request.

Called as ``python session_in_container.py SETTINGS``, JSON with ``command``, ``health``, ``studies``, ``case``.
Needs nothing but Python. Prints one JSON object.
"""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request

ADDRESS = "http://127.0.0.1:8000"
PASSWORD = "long enough for a test"
START_SECONDS = 300


def fetch(path, body=None, kind="application/json", **headers):
    request = urllib.request.Request(ADDRESS + path, data=body, headers={"Content-Type": kind, **headers})
    with urllib.request.urlopen(request, timeout=300) as answer:
        return json.loads(answer.read())


def status_without_login(path):
    try:
        fetch(path)
    except urllib.error.HTTPError as error:
        return error.code
    return 200


def main(settings):
    refused = subprocess.run(settings["command"], capture_output=True, text=True, timeout=300, check=False)
    result = {"without_users": [refused.returncode, refused.stderr.strip()], "uid": os.getuid()}
    users = ["fetaliqa", "users"]
    where = ["--studies", settings["studies"]]
    add = [*users, "add", "anna", "--role", "admin", "--password-stdin", *where]
    subprocess.run(add, input=PASSWORD + "\n", text=True, check=True, timeout=300)
    token = subprocess.run(
        [*users, "token", "anna", *where], capture_output=True, text=True, check=True, timeout=300
    ).stdout.split()
    begun = time.monotonic()
    server = subprocess.Popen(settings["command"])
    try:
        while True:
            check = subprocess.run(settings["health"], capture_output=True, timeout=60, check=False)
            if check.returncode == 0:
                break
            if server.poll() is not None or time.monotonic() - begun > START_SECONDS:
                raise SystemExit(f"the server is not healthy: {check.stderr.decode()[-500:]}")
            time.sleep(1)
        result["healthy_after_s"] = round(time.monotonic() - begun, 1)
        result["info_without_login"] = status_without_login("/info/")
        bearer = {"Authorization": "Bearer " + next(word for word in reversed(token) if len(word) > 20)}
        result["models"] = sorted(fetch("/info/", **bearer)["models"])
        path = f"/infer/fetalclip_seg?image={settings['case']}&output=json"
        answer = fetch(path, body=b"", **bearer)
        result["assessment"] = answer["fetaliqa"]
    finally:
        server.terminate()
        server.wait(timeout=60)
    print(json.dumps(result))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))

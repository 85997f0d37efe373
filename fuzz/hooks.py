"""What Schemathesis cannot know of the API by itself."""

import json
import urllib.request

import schemathesis

ME = 1  # the user whose token is sent, if one is
NUMBERS_AND_FLAGS = {"page", "page_size", "limit", "since", "unread_only"}
WORDS = {"true", "1", "yes", "on", "t", "y", "false", "0", "no", "off", "f", "n", ""}


def is_word(value):
    return not isinstance(value, bool) and (value is None or str(value).strip().lower() in WORDS)


def is_number(value):
    return value is None or str(value).strip() == "" or str(value).strip().lstrip("+-").isdigit()


@schemathesis.hook
def filter_case(context, case):
    """Leaves out what is well although the document does not say so, and what is broken although it does not say so."""
    # Of a parameter that stands there twice the last counts, and an empty one is none.
    for name, value in (case.query or {}).items():
        if isinstance(value, list) and (not value or is_number(value[-1])):
            return False
        # An object stands there as an empty one, or as other parameters.
        is_empty = isinstance(value, dict) or (isinstance(value, str) and not value.strip())
        if name in NUMBERS_AND_FLAGS and is_empty:
            return False
    if isinstance(case.body, dict):
        # Other words for true and false are understood as well.
        if "is_private" in case.body and is_word(case.body["is_private"]):
            return False
        # A part's name stands in quotes in a header, which cannot hold everything that a name can.
        unfit = {chr(code) for code in range(32)} | {"\x7f", "\\"}
        if case.media_type == "multipart/form-data" and any(unfit & set(name) for name in case.body):
            return False
    return True


@schemathesis.hook
def before_call(context, case, kwargs):
    """Sends a refresh token where one is asked for. Each works once, so each request has its own."""
    if case.path != "/users/refresh" or case.auth_identity is None or "Authorization" not in (case.headers or {}):
        return
    body = json.dumps({"username": f"user{ME}", "password": "password123"}).encode()
    login = urllib.request.Request(f"{case.operation.base_url.rstrip('/')}/users/login", body,
                                   {"Content-Type": "application/json"})
    with urllib.request.urlopen(login, timeout=30) as answer:
        case.headers["Authorization"] = f"Bearer {json.load(answer)['refresh_token']}"


def objects(value):
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from objects(item)


@schemathesis.check
def a_private_post_is_its_owners_alone(context, response, case):
    """Whatever an answer has of private posts belongs to the caller."""
    try:
        answer = response.json()
    except json.JSONDecodeError:
        return
    for post in objects(answer):
        assert not post.get("is_private") or post["user_id"] == ME, f"post {post['id']} is private"

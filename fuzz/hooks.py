"""Rules of the API that the OpenAPI document cannot express."""

import json
import urllib.request

import schemathesis

CALLER = 1  # the user whose token is sent
NUMBERS_AND_FLAGS = {"page", "page_size", "limit", "since", "unread_only"}
BOOLEANS = {"true", "1", "yes", "on", "t", "y", "false", "0", "no", "off", "f", "n", ""}


def is_boolean_text(value):
    return not isinstance(value, bool) and (value is None or str(value).strip().lower() in BOOLEANS)


def is_number(value):
    return value is None or str(value).strip() == "" or str(value).strip().lstrip("+-").isdigit()


@schemathesis.hook
def filter_case(context, case):
    """Skips requests that are valid although the document does not say so, or invalid although it does not say so."""
    # The last value of a repeated parameter counts, and an empty one is ignored.
    for name, value in (case.query or {}).items():
        if isinstance(value, list) and (not value or is_number(value[-1])):
            return False
        # An object is sent as an empty parameter or as other parameters.
        is_empty = isinstance(value, dict) or (isinstance(value, str) and not value.strip())
        if name in NUMBERS_AND_FLAGS and is_empty:
            return False
    if isinstance(case.body, dict):
        # Other words for true and false are accepted as well.
        if "is_private" in case.body and is_boolean_text(case.body["is_private"]):
            return False
        # The name of a part is sent as a quoted string in a header, which cannot contain every character.
        invalid = {chr(code) for code in range(32)} | {"\x7f", "\\"}
        if case.media_type == "multipart/form-data" and any(invalid & set(name) for name in case.body):
            return False
    return True


@schemathesis.hook
def before_call(context, case, kwargs):
    """Sends a refresh token to the operation that requires one. Each works once, so each request gets a new one."""
    if case.path != "/users/refresh" or case.auth_identity is None or "Authorization" not in (case.headers or {}):
        return
    body = json.dumps({"username": f"user{CALLER}", "password": "password123"}).encode()
    login = urllib.request.Request(f"{case.operation.base_url.rstrip('/')}/users/login", body,
                                   {"Content-Type": "application/json"})
    with urllib.request.urlopen(login, timeout=30) as response:
        case.headers["Authorization"] = f"Bearer {json.load(response)['refresh_token']}"


def objects(value):
    """Yields all JSON objects within a value."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from objects(item)


@schemathesis.check
def private_posts_are_visible_to_their_owner_only(context, response, case):
    """Checks that all private posts in a response belong to the caller."""
    try:
        body = response.json()
    except json.JSONDecodeError:
        return
    for post in objects(body):
        assert not post.get("is_private") or post["user_id"] == CALLER, f"post {post['id']} is private"

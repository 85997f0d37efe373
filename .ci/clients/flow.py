"""Uses the server at the address of SERVER as a program does, with the generated client."""

import base64
import importlib
import io
import os
import pkgutil
import time

import social
from social.api.accounts import register, verify_email
from social.api.development import get_latest_mail
from social.api.notifications import list_notifications
from social.api.posts import create_post, like_post
from social.models import (
    InboxMail, LikeResponse, NotificationsResponse, PostForm, PostResponse, Problem, RegisterRequest, RegisterResponse,
    VerifyRequest, VerifyResponse,
)
from social.types import File

SERVER = os.environ["SERVER"]
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def expect(kind, result):
    assert isinstance(result, kind), result
    return result


def new_user(username):
    client, email = social.Client(SERVER), f"{username}@example.com"
    body = RegisterRequest(username=username, email=email, password="correct horse")
    registered = expect(RegisterResponse, register.sync(client=client, body=body))
    mail = None
    while not isinstance(mail, InboxMail):
        time.sleep(0.1)
        mail = get_latest_mail.sync(client=client, to=email)
    body = VerifyRequest(email=email, otp=mail.otp, registration_id=registered.registration_id)
    verified = expect(VerifyResponse, verify_email.sync(client=client, body=body))
    return social.AuthenticatedClient(SERVER, token=verified.access_token)


for module in pkgutil.walk_packages(social.__path__, "social."):
    importlib.import_module(module.name)
ann, bob = new_user("python_ann"), new_user("python_bob")
media = File(payload=io.BytesIO(PIXEL), file_name="pixel.png", mime_type="image/png")
post = expect(PostResponse, create_post.sync(client=ann, body=PostForm(content="Hello, world!", media=media)))
assert post.media_url
assert expect(LikeResponse, like_post.sync(post.id, client=bob)).likes_count == 1
assert expect(Problem, like_post.sync(post.id, client=bob)).code == "already_liked"
listed = expect(NotificationsResponse, list_notifications.sync(client=ann, unread_only=True))
assert [(item.type_, item.actor_username, item.post_id) for item in listed.notifications] == [
    ("like", "python_bob", post.id)
]

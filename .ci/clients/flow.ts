// Uses the server at the address of SERVER as a front end does, with the generated types and no cast.
import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { paths } from "./types.ts";

const server = process.env.SERVER;
assert(server);
const pixel = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
  "base64",
);

async function register(username: string) {
  const client = createClient<paths>({ baseUrl: server });
  const email = `${username}@example.com`;
  const registered = await client.POST("/users/register", { body: { username, email, password: "correct horse" } });
  assert(registered.data, registered.error?.detail);
  let mail;
  while (!mail?.data?.otp) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    mail = await client.GET("/dev/inbox/latest", { params: { query: { to: email } } });
  }
  const { registration_id } = registered.data;
  const verified = await client.POST("/users/verify-otp", { body: { email, otp: mail.data.otp, registration_id } });
  assert(verified.data, verified.error?.detail);
  return createClient<paths>({ baseUrl: server, headers: { Authorization: `Bearer ${verified.data.access_token}` } });
}

const ann = await register("typescript_ann");
const bob = await register("typescript_bob");
const created = await ann.POST("/posts/", {
  body: { content: "Hello, world!", media: new Blob([pixel], { type: "image/png" }), is_private: false },
  bodySerializer(body) {
    const form = new FormData();
    for (const [name, value] of Object.entries(body)) form.append(name, value instanceof Blob ? value : String(value));
    return form;
  },
});
assert(created.data, created.error?.detail);
assert(created.data.media_url);
assert.equal((await fetch(created.data.media_url)).headers.get("content-type"), "image/png");

const path = { post_id: created.data.id };
const liked = await bob.POST("/posts/{post_id}/like", { params: { path } });
assert.equal(liked.data?.likes_count, 1);
const again = await bob.POST("/posts/{post_id}/like", { params: { path } });
assert.equal(again.error?.code, "already_liked");

const listed = await ann.GET("/notifications/", { params: { query: { unread_only: true } } });
assert.deepEqual(
  listed.data?.notifications.map(({ type, actor_username, post_id }) => [type, actor_username, post_id]),
  [["like", "typescript_bob", created.data.id]],
);

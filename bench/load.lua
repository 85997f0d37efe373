-- The requests that wrk sends: the scenario of load.py named by SCENARIO. USERS and POSTS are the size of the database;
-- TOKENS and CURSORS are files with one entry per line; RESULT is the file for the figures.

local function lines(name)
  local all = {}
  for line in io.lines(os.getenv(name)) do all[#all + 1] = line end
  return all
end

local scenario = os.getenv("SCENARIO")
local users, posts = tonumber(os.getenv("USERS")), tonumber(os.getenv("POSTS"))
local tokens, cursors = lines("TOKENS"), lines("CURSORS")
local JSON, FORM = "application/json", "application/x-www-form-urlencoded"
local random, sent = math.random, 0
math.randomseed(tonumber(os.getenv("SEED")))

local signed = {}
for user, token in ipairs(tokens) do
  signed[user] = { json = { Authorization = "Bearer " .. token, ["Content-Type"] = JSON },
                  form = { Authorization = "Bearer " .. token, ["Content-Type"] = FORM },
                  none = { Authorization = "Bearer " .. token } }
end

local function any_user() return signed[random(#signed)] end
-- Every twentieth post is private.
local function public(id) return id % 20 == 0 and id - 1 or id end
local function a_post() return public(random(posts)) end
local function popular(count) local r = random() return 1 + math.floor(count * r * r) end

local function get(path) return wrk.format("GET", path, any_user().none) end

local make = {}
function make.login()
  local body = "username=user" .. random(users) .. "%40example.com&password=password123"
  return wrk.format("POST", "/users/login", { ["Content-Type"] = FORM }, body)
end
function make.get_post() return get("/posts/" .. a_post()) end
function make.list_posts() return get("/posts/?page=1&page_size=20") end
function make.list_deep() return get("/posts/?page_size=20&page=" .. math.max(1, math.floor(posts * 0.45 / 20) - random(50))) end
function make.list_cursor() return get("/posts/?page_size=20&cursor=" .. cursors[random(#cursors)]) end
function make.create_post()
  return wrk.format("POST", "/posts/", any_user().form, "content=A+post+of+a+load+test%2C+number+" .. sent)
end
function make.comment()
  return wrk.format("POST", "/posts/" .. a_post() .. "/comment", any_user().json, '{"content":"A comment, number ' .. sent .. '"}')
end
function make.list_comments() return get("/posts/" .. public(popular(posts)) .. "/comment?page_size=20") end
function make.followers() return get("/users/" .. popular(users) .. "/followers?page_size=50") end
function make.notifications() return get("/notifications/?page_size=20") end

-- Likes posts and unlikes them later, so that the number of likes stays constant.
local liked, first = {}, 1
function make.like()
  if #liked - first > 100 and sent % 2 == 0 then
    local user, path = unpack(liked[first])
    liked[first], first = false, first + 1
    return wrk.format("DELETE", path, signed[user].none)
  end
  local user, path = random(#signed), "/posts/" .. a_post() .. "/like"
  liked[#liked + 1] = { user, path }
  return wrk.format("POST", path, signed[user].none)
end

local reads = { "get_post", "list_posts", "list_cursor", "list_comments", "followers", "notifications" }
local writes = { "create_post", "like", "comment" }
function make.mixed()
  local kinds = random(10) == 1 and writes or reads
  return make[kinds[random(#kinds)]]()
end

-- Every list in every form, with random page numbers.
local function page(items, size) return "page=" .. random(math.max(1, math.floor(items / size))) .. "&page_size=" .. size end
local shapes = {
  make.get_post, make.list_posts, make.list_cursor, make.list_comments, make.followers, make.notifications,
  function() return get("/posts/?" .. page(posts * 0.95, 100)) end,
  function() return get("/posts/?user_id=" .. popular(users) .. "&" .. page(posts / users, 20)) end,
  function() return get("/posts/" .. public(popular(posts)) .. "/comment?" .. page(200, 20)) end,
  function() return get("/users/" .. popular(users) .. "/followers?" .. page(400, 100)) end,
  function() return get("/users/" .. popular(users) .. "/following?" .. page(40, 20)) end,
  function() return get("/notifications/?" .. page(100, 20)) end,
  function() return get("/notifications/?unread_only=true&" .. page(60, 20)) end,
  function() return get("/users/me") end,
  function() return get("/users/me/sessions") end,
}
function make.shapes() return shapes[random(#shapes)]() end

function request()
  sent = sent + 1
  return make[scenario]()
end

function done(summary, latency)
  local errors, file = summary.errors, io.open(os.getenv("RESULT"), "w")
  file:write(string.format('{"requests": %d, "seconds": %f, "p50": %f, "p99": %f, "slowest": %f, "refused": %d, "broken": %d}',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
  file:close()
end

-- FreeSWITCH: lets Kapok hear a call by mod_audio_fork, and does what Kapok decides.
--
--   <action application="lua" data="kapok.lua ws://127.0.0.1:2700"/>
--
-- The module makes an event of each of Kapok's messages; this script plays the prompts, passes the
-- keys on, and moves the call. Where Kapok cannot be reached the caller goes to PERSON.

local PERSON = "general@default"                 -- queue of mod_callcenter for all others
local QUEUE = "%s@default"                       -- Kapok's queue to mod_callcenter's
local EMERGENCY = "sofia/gateway/trunk/%s"       -- how 110, 119, 120 and 122 are dialled

local server = argv[1] or "ws://127.0.0.1:2700"
local uuid = session:get_uuid()
local api = freeswitch.API()
local decision, over = nil, false

-- The values wanted are plain texts; a JSON library would be one more thing to install.
local function value(body, key)
  return body and body:match('"' .. key .. '"%s*:%s*"([^"]*)"')
end

-- The module takes the text for one word: no spaces.
local function tell(text)
  api:execute("uuid_audio_fork", uuid .. " send_text " .. text)
end

function on_input(_, kind, input)
  if kind == "dtmf" then
    tell('{"event":"dtmf","dtmf":"' .. input.digit .. '"}')
  end
  return ""
end

local function play(body)
  local file, id = value(body, "file"), value(body, "id")
  if file then session:streamFile(file) end      -- killAudio breaks it off
  if id then tell('{"type":"playDone","data":{"id":"' .. id .. '"}}') end
end

local function take(event)
  if event:getHeader("Unique-ID") ~= uuid then return end
  local name, body = event:getHeader("Event-Subclass"), event:getBody()
  if name == "mod_audio_fork::play_audio" then
    play(body)
  elseif name == "mod_audio_fork::transfer" then
    decision = body
  elseif name == "mod_audio_fork::disconnect" or name == "mod_audio_fork::connect_failed" then
    over = true
  end
end

local function move()
  local action = value(decision, "action")
  if action == "queue" then
    session:execute("callcenter", QUEUE:format(value(decision, "queue")))
  elseif action == "emergency" then
    session:execute("bridge", EMERGENCY:format(value(decision, "number")))
  elseif action == "hang_up" or action == "callback" then
    session:hangup()
  else
    session:execute("callcenter", PERSON)
  end
end

local caller = (session:getVariable("caller_id_number") or ""):gsub("[^%d]", "")
local events = freeswitch.EventConsumer("CUSTOM", "mod_audio_fork::play_audio")
for _, name in ipairs({ "transfer", "disconnect", "connect_failed" }) do
  events:bind("CUSTOM", "mod_audio_fork::" .. name)
end

session:answer()
session:setInputCallback("on_input", "")
local url = server .. "/freeswitch?call_id=" .. uuid .. "&caller=" .. caller
local started = api:execute("uuid_audio_fork", uuid .. " start " .. url .. " mono 8000")
over = not (started or ""):find("+OK", 1, true)

while session:ready() and not over do
  local event = events:pop(0)
  if event then take(event) else session:sleep(20) end
end

api:execute("uuid_audio_fork", uuid .. " stop")
if session:ready() then move() end

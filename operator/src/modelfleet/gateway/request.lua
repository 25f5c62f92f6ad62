-- Chooses by the body's model: writes x-modelfleet-model, on which the route table matches. Constants above this line
-- are written by render_listener.py. Runs once per request, after the key check.

local PREFIX_BYTES = 1024

local function refuse(handle, status, message)
  handle:respond({[":status"] = status}, message)
end

-- FNV-1a over how the prompt begins: the same beginnings hash alike, and nothing of the prompt leaves in a header.
local function prefix_hash(text)
  local first = text:find('"messages"', 1, true) or text:find('"prompt"', 1, true) or text:find('"input"', 1, true) or 1
  local hash = 2166136261
  for at = first, math.min(#text, first + PREFIX_BYTES - 1) do
    hash = bit.bxor(hash, text:byte(at))
    hash = bit.tobit(hash + bit.lshift(hash, 1) + bit.lshift(hash, 4) + bit.lshift(hash, 7) + bit.lshift(hash, 8) + bit.lshift(hash, 24))
  end
  return bit.tohex(hash)
end

-- Last in the object: of two equal keys engines take the second, so that it also counts where the client said no.
local function ask_for_usage(text)
  local stop = text:find("}%s*$")
  return text:sub(1, stop - 1) .. ',"stream_options":{"include_usage":true}}'
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local path = headers:get(":path"):match("^[^?]*")
  local method = headers:get(":method")
  -- From here on who asks is known, and the request is counted.
  handle:streamInfo():dynamicMetadata():set(METADATA, "tenant", headers:get(TENANT_HEADER) or "")
  if path == "/v1/models" then
    if method ~= "GET" then return refuse(handle, "405", "use GET for " .. path) end
    headers:replace(MODEL_HEADER, LISTING)
    handle:clearRouteCache()
    return
  end
  if not OPERATIONS[path] then return refuse(handle, "404", "there is no such path here") end
  if method ~= "POST" then return refuse(handle, "405", "use POST for " .. path) end

  local kind = (headers:get("content-type") or ""):lower()
  if not (kind:find("^application/json%s*$") or kind:find("^application/json%s*;")) then
    return refuse(handle, "400", "send a JSON body with Content-Type: application/json")
  end

  local body = handle:body()
  -- Reading the body paused this script: what was taken before, headers too, may not be used after.
  local text = body and body:getBytes(0, body:length()) or ""
  local found = read_body(text)
  if found == nil then return refuse(handle, "400", "the body is not valid JSON, or not an object") end
  local model = found.model
  if not model or model == "" then
    return refuse(handle, "400", "the body names no model: set the field model to one of the names that GET /v1/models lists")
  end
  -- What is no served name is no header value either.
  if #model > 253 or model:find("[^%w%._/:%-]") then model = "?" end
  headers = handle:headers()
  headers:replace(MODEL_HEADER, model)
  handle:clearRouteCache()
  local notes = handle:streamInfo():dynamicMetadata()
  notes:set(METADATA, "model", model)
  if found.stream then notes:set(METADATA, "stream", true) end

  local hints = handle:metadata()
  local full = hints:get("full")
  -- A model's routes stand under its full name alone; the names that its engines know lead there.
  if full then
    headers:replace(MODEL_HEADER, full)
    handle:clearRouteCache()
  end
  local name, sent = hints:get("name"), text
  if hints:get("prefix") then headers:replace(PREFIX_HEADER, prefix_hash(text)) end
  -- The engine knows one name only: an alias in the body is replaced by it.
  if name then sent = sent:sub(1, found.from) .. name .. sent:sub(found.to) end
  if hints:get("counted") and found.stream and USAGE_ON_REQUEST[path] and not text:find('"include_usage"%s*:%s*true') then
    sent = ask_for_usage(sent)
    notes:set(METADATA, "added", true)
  end
  if sent ~= text then body:setBytes(sent) end
end

-- Reads what an answer tells, as it passes: tokens, whether it says anything, errors inside a stream. Waits for nothing
-- and keeps no body: a stream's first event is at the client before its second is at the gateway. Follows request.lua.

local KEPT_BYTES = 2048 -- of what has passed, to find what two reads tore apart
local USAGE_BYTES = 1024
local LONGEST_EVENT_BYTES = 65536

local function number(text, first, second)
  return tonumber(text:match('"' .. first .. '"%s*:%s*(%d+)') or text:match('"' .. second .. '"%s*:%s*(%d+)'))
end

-- The last usage counts. Quotes inside JSON strings are escaped: "usage" is a key here and no text.
local function note_usage(handle, text)
  local at = 1
  while true do
    local _, stop = text:find('"usage"', at, true)
    if stop == nil then return end
    at = stop + 1
    if text:find("^%s*:%s*{", at) then
      local usage = text:sub(at, at + USAGE_BYTES)
      local input, output = number(usage, "prompt_tokens", "input_tokens"), number(usage, "completion_tokens", "output_tokens")
      if input or output then
        handle:streamInfo():dynamicMetadata():set(METADATA, "usage", {input = input, output = output})
      end
    end
  end
end

local function says_something(text)
  return text:find('"content"%s*:%s*"[^"]') or text:find('"text"%s*:%s*"[^"]') or text:find('"tool_calls"%s*:%s*%[%s*{')
    or text:find('"reasoning_content"%s*:%s*"[^"]') or text:find('"reasoning"%s*:%s*"[^"]')
end

-- The event that only tells the usage, for which the gateway asked and the client did not.
local function without_usage(text)
  if not text:find('"choices"%s*:%s*%[%s*%]') then return text end
  return (text:gsub("(.-\r?\n\r?\n)", function(event)
    if event:find('"choices"%s*:%s*%[%s*%]') and event:find('"usage"%s*:%s*{') then return "" end
  end))
end

function envoy_on_response(handle)
  local headers = handle:headers()
  -- Engines that are full do not say when to ask again; clients read it here.
  if RETRIABLE[headers:get(":status")] and headers:get("retry-after") == nil then
    headers:add("retry-after", RETRY_AFTER)
  end
  local kind = headers:get("content-type") or ""
  local events = kind:find("^text/event%-stream") ~= nil
  if headers:get(":status") ~= "200" or not (events or kind:find("^application/json")) then return end

  local added = events and (handle:streamInfo():dynamicMetadata():get(METADATA) or {}).added
  local begun, spoke, choices, broken = false, false, false, false
  local kept, held = "", ""
  for chunk in handle:bodyChunks() do
    local length = chunk:length()
    local passing = chunk:getBytes(0, length)
    if added and (length > 0 or held ~= "") then
      -- Whole events pass at once; the beginning of one waits for its end, which no client could read before either.
      local given, stop = held .. passing, nil
      if length > 0 and #given < LONGEST_EVENT_BYTES then stop = given:match("^.*\n\r?\n()") or 1 end
      held = stop and given:sub(stop) or ""
      local whole = stop and given:sub(1, stop - 1) or given
      local sent = without_usage(whole)
      if sent ~= passing then chunk:setBytes(sent) end
      passing = whole
    end
    if passing ~= "" then
      if events and not begun then
        begun = true
        handle:streamInfo():dynamicMetadata():set(METADATA, "begun", true)
      end
      local text = kept .. passing
      note_usage(handle, text)
      choices = choices or text:find('"choices"', 1, true) ~= nil
      spoke = spoke or (choices and says_something(text) ~= nil)
      if events and not broken and (text:find('data: {"error"', 1, true) or text:find('data: {"object":"error"', 1, true)) then
        broken = true
        handle:streamInfo():dynamicMetadata():set(METADATA, "verdict", "error")
      end
      kept = added and "" or text:sub(-KEPT_BYTES)
    end
  end
  if choices and not spoke and not broken then
    handle:streamInfo():dynamicMetadata():set(METADATA, "verdict", "empty")
  end
end

-- Reads a request's JSON in one pass: is it an object, which model does it name, is a stream wanted. Follows the
-- constants, comes before request.lua. Strings are skipped by searching for their ends, which costs next to nothing for
-- long prompts; what is in them (UTF-8, control characters) is the engine's to judge.

local DEEPEST = 500
local QUOTE, COMMA, OPEN_LIST, CLOSE_LIST, OPEN, CLOSE, LETTER_U = 34, 44, 91, 93, 123, 125, 117
local ESCAPES = {['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t"}
local BLANK, NO_BLANK = "^[ \t\r\n]*", "[^ \t\r\n]"

-- What a string means; characters beyond ASCII become "?", for no name that is looked for has any.
local function meaning(raw)
  if not raw:find("\\", 1, true) then return raw end
  return (raw:gsub("\\(.)(%x?%x?%x?%x?)", function(escaped, digits)
    if escaped ~= "u" then return ESCAPES[escaped] .. digits end
    local code = tonumber(digits, 16)
    return code < 128 and string.char(code) or "?"
  end))
end

-- Where a number or word ends; nil if there is none.
local function scalar_end(text, at)
  local _, stop = text:find("^-?[1-9]%d*", at)
  if stop == nil then _, stop = text:find("^-?0", at) end
  if stop == nil then
    _, stop = text:find("^true", at)
    if stop == nil then _, stop = text:find("^false", at) end
    if stop == nil then _, stop = text:find("^null", at) end
    return stop
  end
  local _, fraction = text:find("^%.%d+", stop + 1)
  stop = fraction or stop
  local _, exponent = text:find("^[eE][+-]?%d+", stop + 1)
  return exponent or stop
end

-- Gives {model, from, to, stream}: the model's name (false if it is no string) and where its string stands; of equal keys
-- the last counts, as for engines. Gives nil if this is not one JSON object.
function read_body(text)
  local slash = 0 -- the next backslash, kept: a search for it from every string anew would not end

  local function string_end(at)
    local quote = text:find('"', at, true)
    while quote do
      if slash and slash < at then slash = text:find("\\", at, true) end
      if slash == nil or slash > quote then return quote end
      local escaped = text:byte(slash + 1)
      if escaped == LETTER_U then
        if not text:find("^%x%x%x%x", slash + 2) then return nil end
        at = slash + 6
      elseif escaped and ESCAPES[string.char(escaped)] then
        at = slash + 2
      else
        return nil
      end
      if quote < at then quote = text:find('"', at, true) end
    end
  end

  local at = text:find(NO_BLANK)
  if at == nil or text:byte(at) ~= OPEN then return nil end
  local found, depth, closes, key = {}, 1, {CLOSE}, nil
  local wanted, may_close = "key", true
  at = at + 1
  while true do
    at = text:find(NO_BLANK, at)
    if at == nil then return nil end
    local first = text:byte(at)
    if first == closes[depth] and (wanted == "next" or may_close) then
      depth, wanted, may_close, at = depth - 1, "next", false, at + 1
      if depth == 0 then return text:find(NO_BLANK, at) == nil and found or nil end
    elseif wanted == "next" then
      if first ~= COMMA then return nil end
      wanted, at = closes[depth] == CLOSE and "key" or "value", at + 1
    elseif wanted == "key" then
      local stop = first == QUOTE and string_end(at + 1)
      if not stop then return nil end
      local _, colon = text:find(BLANK .. ":", stop + 1)
      if colon == nil then return nil end
      key = depth == 1 and meaning(text:sub(at + 1, stop - 1)) or nil
      wanted, may_close, at = "value", false, colon + 1
    elseif first == OPEN or first == OPEN_LIST then
      if depth == DEEPEST then return nil end
      if key == "model" then found.model = false elseif key == "stream" then found.stream = false end
      depth, key = depth + 1, nil
      closes[depth] = first == OPEN and CLOSE or CLOSE_LIST
      wanted, may_close, at = first == OPEN and "key" or "value", true, at + 1
    else
      local stop
      if first == QUOTE then stop = string_end(at + 1) else stop = scalar_end(text, at) end
      if not stop then return nil end
      if key == "model" then
        found.model = first == QUOTE and meaning(text:sub(at + 1, stop - 1))
        found.from, found.to = at, stop
      elseif key == "stream" then
        found.stream = text:sub(at, stop) == "true"
      end
      wanted, may_close, at = "next", false, stop + 1
    end
  end
end

"""Scripts for Argo CD, run by the Lua engine that Argo CD embeds (gopher-lua), with the little that it lets them use.

Argo CD opens the base, package and table libraries, and answers `require("os")` with `time` and `date`: no global `os`,
no `string`, no method of a string. It must not offer a script more than that, or a test would pass what fails for users.
"""

import functools
import json
import subprocess
from pathlib import Path
from typing import Any

import yaml

from e2e.cluster.build import tool

EXAMPLES = Path(__file__).parents[2] / "examples" / "argocd"
KIND = "modelfleet.dev_LLMDeployment"

HARNESS = """
local script = assert(loadstring(%(script)s))
obj = %(obj)s
local format, gsub, byte, say = string.format, string.gsub, string.byte, print
local allowed = {time = os.time, date = os.date}
getmetatable("").__index = nil
for _, name in ipairs({"io", "os", "string", "math", "debug", "coroutine", "channel"}) do
  _G[name], package.loaded[name] = nil, nil
end
package.preload.os = function() return allowed end

local function encode(value)
  if type(value) == "string" then
    return '"' .. gsub(value, '[%%c"\\\\]', function(one) return format("\\\\u%%04x", byte(one)) end) .. '"'
  elseif type(value) ~= "table" then
    return tostring(value)
  end
  local list, map = {}, {}
  for _, one in ipairs(value) do list[#list + 1] = encode(one) end
  for key, one in pairs(value) do map[#map + 1] = encode(tostring(key)) .. ": " .. encode(one) end
  if #list == #map then return "[" .. table.concat(list, ", ") .. "]" end
  return "{" .. table.concat(map, ", ") .. "}"
end
say(encode(script()))
"""


class ScriptError(Exception):
    """A script did not end well; the message is the engine's."""


@functools.cache
def customizations() -> dict[str, str]:
    """What the ConfigMap's patch holds, by key."""
    data: dict[str, str] = yaml.safe_load((EXAMPLES / "argocd-cm.yaml").read_text())["data"]
    return data


def health(obj: dict[str, Any]) -> tuple[str, str]:
    """Argo CD's word for an object, and the message beside it."""
    answer = run(customizations()[f"resource.customizations.health.{KIND}"], obj)
    return answer["status"], answer["message"]


def actions() -> dict[str, Any]:
    """The actions as Argo CD reads them: a script that lists them, and one for each."""
    parsed: dict[str, Any] = yaml.safe_load(customizations()[f"resource.customizations.actions.{KIND}"])
    return parsed


def run(script: str, obj: dict[str, Any]) -> Any:
    """What a script answers for an object.

    Raises:
        ScriptError: it does not compile, or it failed.
    """
    text = HARNESS % {"script": _literal(script), "obj": _literal(obj)}
    argv = [str(tool("glua")), "-e", text]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
    if done.returncode or done.stderr:
        raise ScriptError(done.stderr + done.stdout)
    return json.loads(done.stdout)


def _literal(value: Any) -> str:
    """Write a value of JSON as Lua does; null is nil, hence absent.

    >>> _literal({"a": [1, True, None]})
    '{["\\\\097"] = {1, true, nil}}'
    """
    match value:
        case None:
            return "nil"
        case bool():
            return str(value).lower()
        case str():
            return '"' + "".join(f"\\{byte:03d}" for byte in value.encode()) + '"'
        case dict():
            return "{" + ", ".join(f"[{_literal(k)}] = {_literal(v)}" for k, v in value.items()) + "}"
        case list():
            return "{" + ", ".join(map(_literal, value)) + "}"
        case _:
            return str(value)

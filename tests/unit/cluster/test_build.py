"""What decides whether a program is built again."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

import pytest

from e2e.cluster import build, host
from e2e.cluster.build import TOOLS, BuildError, Tool, digest
from e2e.cluster.paths import TOOLS_DIR


@pytest.fixture
def tools_dir(tmp_path):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "go.mod").write_text("module demo\n")
    (tmp_path / "demo" / "go.sum").write_text("")
    return tmp_path


@pytest.mark.parametrize("changed", ["go.mod", "go.sum", "package", "ldflags"])
def test_the_digest_covers(tools_dir, changed):
    before = digest(Tool(module="demo", package="p", ldflags="f"), tools_dir=tools_dir)
    if changed in ("go.mod", "go.sum"):
        (tools_dir / "demo" / changed).write_text("other\n")
    package, ldflags = ("q" if changed == "package" else "p"), ("g" if changed == "ldflags" else "f")
    assert digest(Tool(module="demo", package=package, ldflags=ldflags), tools_dir=tools_dir) != before


def test_the_digest_does_not_depend_on_where_the_clone_lies(tools_dir, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("clone") / "tools"
    (tools_dir / "demo").rename(elsewhere.parent / "demo")
    tool = Tool(module="demo", package="p")
    there = digest(tool, tools_dir=elsewhere.parent)
    (elsewhere.parent / "demo").rename(tools_dir / "demo")
    assert digest(tool, tools_dir=tools_dir) == there


@pytest.mark.parametrize("name", sorted(TOOLS))
def test_every_tool_is_pinned_by_its_module(name):
    module = TOOLS_DIR / TOOLS[name].module
    declared = (module / "go.mod").read_text().split()
    assert TOOLS[name].package in declared
    assert (module / "go.sum").is_file()


def test_an_unknown_tool_names_those_there_are():
    with pytest.raises(BuildError, match=r"no tool is called 'kubctl'.*kubectl"):
        build.tool("kubctl")


def fake_go(folder: Path, script: str) -> Path:
    program = folder / "go"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "CACHE_DIR", tmp_path / "cache")
    return tmp_path / "cache"


def test_a_failed_build_leaves_nothing_and_says_what_go_said(cache, tmp_path, monkeypatch):
    # $5 is what `-o` names: half a program is written before the compiler gives up
    go = fake_go(tmp_path, 'echo half > "$5"; echo "undefined: Frobnicate" >&2; exit 1')
    monkeypatch.setattr(host, "ensure_go", lambda: go)
    with pytest.raises(BuildError, match="undefined: Frobnicate"):
        build.tool("kubectl")
    assert list((cache / "bin").iterdir()) == []


def test_a_program_is_built_once(cache, tmp_path, monkeypatch):
    go = fake_go(tmp_path, f'echo once >> {tmp_path}/built; echo program > "$5"')
    monkeypatch.setattr(host, "ensure_go", lambda: go)
    assert build.tool("kubectl").read_text() == "program\n"
    assert build.tool("kubectl") == build.path_of("kubectl")
    assert (tmp_path / "built").read_text() == "once\n"


def test_a_folder_left_without_its_program_is_replaced(cache, tmp_path, monkeypatch):
    stale = build.path_of("kubectl").parent
    stale.mkdir(parents=True)
    (stale / "kubectl.partial").touch()
    monkeypatch.setattr(host, "ensure_go", lambda: fake_go(tmp_path, 'echo program > "$5"'))
    assert build.tool("kubectl").is_file()
    assert not (stale / "kubectl.partial").exists()


def test_what_a_killed_build_left_is_removed(cache, tmp_path, monkeypatch):
    half = cache / "bin" / ".kubectl-x1y2" / "bin" / "kubectl"
    half.parent.mkdir(parents=True)
    half.write_text("half")
    monkeypatch.setattr(host, "ensure_go", lambda: fake_go(tmp_path, 'echo program > "$5"'))
    assert build.tool("kubectl").read_text() == "program\n"
    assert [path.name for path in (cache / "bin").iterdir()] == [build.path_of("kubectl").parent.name]


def test_a_build_never_changes_the_pinned_versions(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("GOFLAGS", "-mod=mod")
    monkeypatch.setattr(host, "ensure_go", lambda: fake_go(tmp_path, 'echo "$GOFLAGS" > "$5"'))
    assert build.tool("kubectl").read_text() == "-mod=readonly\n"


def test_a_machine_without_go_is_told_where_to_get_it(monkeypatch):
    monkeypatch.setattr(host.shutil, "which", lambda *_, **__: None)
    with pytest.raises(host.HostError, match=r"Go 1\.26 or newer is not found\. Install it from https://go\.dev/dl/"):
        host.ensure_go()


def test_an_old_go_is_refused(tmp_path, monkeypatch):
    fake_go(tmp_path, "echo go1.19.8")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(host.HostError, match=r"is Go 1\.19, but 1\.26 or newer"):
        host.ensure_go()


def test_missing_packages_are_named_to_who_may_not_install_them(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("nothing may be run"))
    with pytest.raises(host.HostError, match="apt-get install -y --no-install-recommends nothing"):
        host.ensure_programs({"/no/such/program": "nothing"})


def test_what_another_process_installs_meanwhile_is_not_installed_again(tmp_path, monkeypatch):
    program, asked = tmp_path / "program", threading.Event()
    really = host.missing_packages

    def missing(programs):
        found = really(programs)
        asked.set()
        return found

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(host.shutil, "which", lambda name, **_: name == "apt-get" or Path(name).exists())
    monkeypatch.setattr(host, "missing_packages", missing)
    monkeypatch.setattr(host, "_LOCK", tmp_path / "lock")
    installed = []
    monkeypatch.setattr(host, "install", installed.append)
    with host._locked():
        waiting = threading.Thread(target=host.ensure_programs, args=({str(program): "package"},))
        waiting.start()
        assert asked.wait(timeout=30)
        program.touch()
    waiting.join(timeout=30)
    assert (installed, waiting.is_alive()) == ([], False)


def test_an_installation_is_said_before_it_begins(monkeypatch, capsys, tmp_path):
    seen = []

    def run(*_, **__):
        seen.append(capsys.readouterr().err)
        return subprocess.CompletedProcess([], 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(host, "_POLICY", tmp_path / "policy-rc.d")
    host.install(["conntrack", "ipset"])
    assert seen[0] == "installing from Debian: conntrack ipset\n"


def test_without_a_terminal_each_program_is_named_before_it_is_built(cache, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(host, "ensure_go", lambda: fake_go(tmp_path, 'echo "compiling $6" >&2; echo program > "$5"'))
    told = []
    real = build._build

    def watched(**given):
        told.append(capfd.readouterr().err)
        real(**given)

    monkeypatch.setattr(build, "_build", watched)
    build.ensure(["kubectl", "kwok"])
    assert told == ["building kubectl\n", "building kwok\n"]
    assert capfd.readouterr().err == ""

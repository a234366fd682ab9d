"""The story of a pull request, on this machine alone: `make story`.

A bad candidate is pushed: pending, a comment, a failure. A better one is pushed: the same comment, two records in its
history, a success. Then `ftgate verify` is asked before the release: the second digest is allowed, the first is not.
The models are scripted; everything else is real: the command line, HTTP, git, and the verification of the reports.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from support.github import events
from support.github.scene import NUMBER, POLICY_PATH
from support.github.server import FakeGitHub
from support.github.state import PullRequest
from support.players import CAREFUL, FORGETFUL, Player, script
from support.world import World, write_adapter

from ftgate.artifacts.snapshot import take_snapshot
from ftgate.engines.scripted import ScriptedEngine
from ftgate.gate.evaluate import evaluate
from ftgate.jobs.prepare import load_job
from ftgate.progress import SilentProgress


class Story:
    """One repository, one pull request, and the commands of its jobs."""

    def __init__(self, folder: Path, hub: FakeGitHub) -> None:
        self.folder, self.hub = folder, hub
        self.world = World(folder / "checkout")
        self.world.policy |= {"manifests": ["*.yaml"], "publish": {"ledger": "branch"}}
        self.world.save()
        self.policy = self.world.policy_path.read_text(encoding="utf-8")
        suites = {f".github/evals/{p.name}": p.read_text("utf-8") for p in (self.world.root / "evals").glob("*.jsonl")}
        self.base = hub.git.commit({POLICY_PATH: self.policy, **suites}, branch="main")
        self.digests: list[str] = []

    def push(self, seed: int) -> str:
        """A new candidate: other weights, and a manifest that pins their digest."""
        weights = write_adapter(self.world.root / "models" / f"bot-{seed}", seed=seed)
        self.digests.append(take_snapshot(weights, "bot").digest)
        self.world.manifest["candidate"] = {"source": f"models/bot-{seed}", "digest": self.digests[-1]}
        self.world.save()
        before = self.hub.pulls.get(NUMBER)
        text = self.world.manifest_path.read_text(encoding="utf-8")
        head = self.hub.git.commit({"bot.yaml": text}, before.head if before else self.base)
        self.hub.pulls[NUMBER] = PullRequest(NUMBER, head, self.base)
        return head

    def evaluate(self, player: Player) -> Path:
        """The evaluation, which on GitHub runs in the GPU job without a token."""
        out = self.folder / f"out-{len(self.digests)}"
        engine = ScriptedEngine(script(player))
        job = load_job(self.world.policy_path, self.world.manifest_path)
        evaluate(job, out, SilentProgress(), engine=engine, judge_engine=engine)
        return out

    def command(self, *arguments: str) -> int:
        """Run one command of a job in a separate process, with the environment that a runner sets."""
        payload = self.folder / "event.json"
        payload.write_text(json.dumps(events.pull_request(self.hub.pulls[NUMBER])), encoding="utf-8")
        env = os.environ | events.environment("pull_request", events.MERGE)
        env |= {"GITHUB_RUN_ID": str(70 + len(self.digests)), "GITHUB_EVENT_PATH": str(payload)}
        env |= {"GITHUB_API_URL": self.hub.url, "GITHUB_TOKEN": "token", "GITHUB_OUTPUT": str(self.folder / "outputs")}
        print(f"\n$ ftgate {' '.join(a if len(a) < 40 else f'{a[:20]}…' for a in arguments)}", flush=True)
        done = subprocess.run([sys.executable, "-m", "ftgate", *arguments], env=env, check=False)
        print(f"exit code {done.returncode}", flush=True)
        return done.returncode

    def status(self) -> str:
        """The state of the required status on the pull request's head."""
        status = self.hub.status_of(self.hub.pulls[NUMBER].head)
        return status.state if status else "none"


def play(folder: Path) -> dict[str, object]:
    """Play the story in ``folder`` and return the result of each step."""
    with FakeGitHub(folder / "platform") as hub:
        story = Story(folder, hub)
        results: dict[str, object] = {}
        for turn, player in (("bad", FORGETFUL), ("better", CAREFUL)):
            story.push(seed=2 + len(story.digests))
            results[f"{turn}: pending"] = (story.command("publish", "--pending"), story.status())
            out = story.evaluate(player)
            results[f"{turn}: published"] = (story.command("publish", str(out)), story.status())
        policy = ("--policy", str(story.world.policy_path))
        results["history"] = story.command("history", "--pull-request", str(NUMBER), *policy)
        results["release of the better"] = story.command("verify", "--candidate", story.digests[1], *policy)
        results["release of the bad"] = story.command("verify", "--candidate", story.digests[0], *policy)
        results["comments"] = [c.body for c in hub.comments]
        results["invalid"] = hub.invalid
    return results


def main() -> None:
    """Play the story and print the comment."""
    with tempfile.TemporaryDirectory() as folder:
        results = play(Path(folder))
    comments = results.pop("comments")
    assert isinstance(comments, list)
    print("\nthe comment, edited once:\n")
    print(*comments, sep="\n\n")
    for step, result in results.items():
        print(f"{step:<24}{result}")


if __name__ == "__main__":
    main()

"""A strict chat server that plays base and candidate of a :class:`support.world.World` by the names it serves."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ftgate.domain import Message, Question
from support.chat_server import Body, ChatServer, Reply, listed, refusal, said
from support.players import Player, answer_of

MEASUREMENT = {"target": "target", "spell": "forgetting", "query": "tail", "colour": "calibration"}
ID = {"target": "c", "spell": "g", "query": "c", "colour": "c"}
FIELDS = {"model", "messages", "max_tokens", "temperature", "logprobs", "top_logprobs", "seed"}
"""What a server of the plain kind knows; it refuses anything else, as strict ones do."""


class ModelServer(ChatServer):
    """Serves ``players`` by name. Without ``logprobs`` it refuses to list tokens; it lists at most ``most`` of them."""

    def __init__(self, players: Mapping[str, Player], *, logprobs: bool = True, most: int = 20) -> None:
        super().__init__(self.reply, {"data": [{"id": name, "owned_by": "acme"} for name in players]})
        self.players = dict(players)
        self.logprobs = logprobs
        self.most = most
        self.answers_as: Mapping[str, str] = {}
        """Other names that it gives itself in its replies."""

    def reply(self, body: Body) -> Reply:
        """What the model that was asked for says."""
        if unknown := body.keys() - FIELDS:
            return refusal(400, f"unknown field {min(unknown)}")
        player = self.players.get(body["model"])
        if player is None:
            return refusal(404, f"no model {body['model']}")
        if body.get("logprobs") and not self.logprobs:
            return refusal(400, "logprobs are not available for this model")
        reply = self._said(player, body)
        return Reply({**reply.body, "model": self.answers_as.get(body["model"], body["model"])})

    def _said(self, player: Player, body: Body) -> Reply:
        text = body["messages"][-1]["content"]
        if text.startswith("Reply with"):  # what finds out what the server can do
            return self._listed(dict.fromkeys("ABCDE", 0.2), body) if body.get("logprobs") else said("A")
        if text == "Hello.":
            return said("Hello.")
        kind, number = text.split()[:2]
        options = tuple(line[0] for line in text.splitlines()[1:-1])
        question = Question(MEASUREMENT[kind], ID[kind] + number, (Message("user", text),), options=options)
        answer = answer_of(player, question)
        if options:
            return self._listed({o: math.exp(p) for o, p in zip(options, answer.option_logprobs, strict=True)}, body)
        if body.get("logprobs"):
            return self._listed({"word": 0.5 + player.target / 4, "no": 0.2}, body)
        return said(answer.text, finish_reason="stop")

    def _listed(self, shares: Mapping[str, float], body: Body) -> Reply:
        """As many tokens as were asked for, or as the server lists: those with ``shares``, and unlikely ones."""
        tokens = {**shares, **{f"other{i}": 1e-6 / (i + 1) for i in range(20)}}
        likeliest = sorted(tokens, key=lambda token: -tokens[token])[: min(body["top_logprobs"], self.most)]
        return listed({token: tokens[token] * (1 - 1e-5) for token in likeliest})

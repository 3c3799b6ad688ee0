"""The agent that was downloaded plays episodes again that the agent of the run was scored on.

Guarantee: what passes has played the same actions to the same scores, episode by episode, in a simulator of this
machine; an agent that was scored under other decoding, on other weights, or elsewhere than on this kind of machine
can differ, and is refused with the episode.
"""

from collections.abc import Sequence
from pathlib import Path

from sgd_hf.agent.agent import SubgoalAgent
from sgd_hf.core.errors import HubError
from sgd_hf.core.records import Rollout
from sgd_hf.evaluation.arms import Arm
from sgd_hf.evaluation.rollouts import play_all
from sgd_hf.release.check import Fetch
from sgd_hf.scienceworld.protocols import Protocol


def play_again(folder: Path, fetch: Fetch, rollouts: Sequence[Rollout], limit: int | None, patience: int) -> None:
    """Play the episodes of ``rollouts`` with the agent in ``folder``; `HubError` names the first that goes otherwise.
    ``limit`` in simulator moves and ``patience`` in actions are those of the protocol that they were played under."""
    from sgd_hf.agent.decoder import Decoder

    agent = SubgoalAgent.from_pretrained(folder)
    modules = agent.modules(load=lambda source, revision, decoding: Decoder.from_pretrained(fetch(source, revision), decoding=decoding))
    arm = Arm("hierarchical", lambda episode, *state: agent.policy(*state), modules)
    protocol = Protocol("again", tuple(rollout.episode for rollout in rollouts), limit, patience)
    stored = {rollout.key: rollout for rollout in rollouts}
    for played in play_all(protocol.episodes, arm, protocol, workers=1):
        before = stored[played.key]
        if (played.score, [s.action for s in played.steps]) != (before.score, [s.action for s in before.steps]):
            raise HubError(
                f"The published agent plays {played.episode.key} otherwise than the one that was scored "
                f"(score {played.score}, the evaluation's {before.score}); evaluate again on this machine, or release without --play."
            )

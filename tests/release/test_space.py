"""The Space: its folder is whole, a step shows what happened there as text, and in a real browser it steps and plays."""

import dataclasses
import itertools
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from browser import PROGRAMS, browser, until

from sgd_hf import __version__
from sgd_hf.agent.agent import SubgoalAgent
from sgd_hf.agent.policy import Patience
from sgd_hf.core.errors import InputError, StoreError
from sgd_hf.core.prompts import BUDGET, PROMPT_VERSION
from sgd_hf.core.records import Rollout, Step, SubgoalTrace
from sgd_hf.evaluation.report import write_replay
from sgd_hf.release.space import named_agent, read_episodes, space
from sgd_hf.release.space.scene import plot, tree, world

HOSTILE = '<script>alert(1)</script> ${alert(2)} {{value}} `"'
AGENT = {"source": "org/sgd-agent", "revision": "0123abc"}


@pytest.fixture(scope="module")
def episodes(annotations):
    """The recorded gold paths as rollouts of two arms: of one with the annotation's sub-goals, of one without any."""
    made = []
    for annotation in annotations:
        gold = annotation.gold
        goals = tuple(SubgoalTrace(s.subgoal, s.start, s.end, "ended") for s in annotation.segments)
        for arm, traces in (("hierarchical", goals), ("oracle", ())):
            more = {"look": gold.look, "inventory": gold.inventory} if traces else {}
            score = gold.steps[-1].score
            made.append(Rollout(gold.episode, arm, gold.description, gold.steps, traces, score, score, score, "success", 0, 0, **more))
    return made


def hostile(rollout):
    step = Step(HOSTILE, HOSTILE, HOSTILE, HOSTILE, 3, 1, False)
    return dataclasses.replace(
        rollout, description=HOSTILE, steps=(step,), subgoals=(SubgoalTrace(HOSTILE, 0, 1, HOSTILE, f"why {HOSTILE}"),)
    )


class Seen(HTMLParser):
    """What a browser makes of a fragment: its text, its elements, and the steps of its actions, the shown one apart."""

    def __init__(self, html):
        super().__init__()
        self.text, self.tags, self.acts, self.now = "", set(), [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags.add(tag)
        kinds = given.get("class", "").split()
        if "act" in kinds:
            self.acts.append(int(given["data-step"]))
            self.now += self.acts[-1:] if "now" in kinds else []

    def handle_data(self, data):
        self.text += data + " "


def test_the_folder_holds_the_named_files_and_gives_the_episodes_back(episodes, tmp_path):
    space(tmp_path, episodes, AGENT)
    files = {"app.py", "requirements.txt", "packages.txt", "README.md", "episodes.parquet", "agent.json"}
    assert {path.name for path in tmp_path.iterdir()} == files
    assert read_episodes(tmp_path) == episodes
    assert f"=={__version__}\n" in (tmp_path / "requirements.txt").read_text() and "jre" in (tmp_path / "packages.txt").read_text()
    assert json.loads((tmp_path / "agent.json").read_text()) == AGENT


@pytest.mark.parametrize("agent", [AGENT, None])
def test_the_card_is_a_spaces_card_and_says_what_is_there(episodes, tmp_path, agent):
    from huggingface_hub import RepoCard

    space(tmp_path, episodes[:3], agent)
    card = RepoCard.load(tmp_path / "README.md")
    said = card.data.to_dict()
    assert (said["sdk"], said["app_file"], said.get("models")) == ("gradio", "app.py", ["org/sgd-agent"] if agent else None)
    assert "3 recorded episodes" in card.text and "hierarchical, oracle" in card.text and ("0123abc" in card.text) == bool(agent)
    assert (tmp_path / "agent.json").exists() == bool(agent) and len(said["short_description"]) <= 60


def test_a_space_without_episodes_is_refused(tmp_path):
    with pytest.raises(InputError, match="rollouts"):
        space(tmp_path, [])
    with pytest.raises(StoreError, match="episodes.parquet"):
        read_episodes(tmp_path)


def test_every_step_of_every_episode_shows_its_own_state(episodes):
    for rollout in episodes:
        for step in range(0, len(rollout.steps) + 1, 5):
            shown, here = Seen(world(rollout, step)), rollout.steps[step - 1] if step else None
            flat = " ".join(shown.text.split())
            assert f"score {max(here.score, 0) if here else 0} moves {here.moves if here else 0} " in flat
            for text in (here.action, here.observation, here.look, here.inventory) if here else (rollout.look, rollout.inventory):
                assert all(" ".join(line.split()) in flat for line in text.splitlines())
            assert "not recorded" in flat or here or rollout.look


def test_the_tree_leads_to_every_step_in_order_and_marks_the_one_that_is_shown(episodes):
    for rollout in episodes:
        shown = Seen(tree(rollout, len(rollout.steps)))
        assert shown.acts == list(range(len(rollout.steps) + 1)) and shown.now == [len(rollout.steps)]
        assert all(trace.subgoal.partition("(")[0] in shown.text for trace in rollout.subgoals)
        assert Seen(tree(rollout, 0)).now == [0]


def test_the_curve_rises_with_the_score_and_ends_at_the_last_move(episodes):
    for rollout in episodes:
        path = re.search(r'class="all" d="([^"]+)"', plot(rollout, 0))[1]
        heights = [100 - float(y) for y in re.findall(r"V([\d.]+)", path)]
        assert heights == [max(step.score, 0) for step in rollout.steps]
        assert f">{rollout.steps[-1].moves}</span>" in plot(rollout, 0)
        assert f"score {rollout.score} after" in plot(rollout, len(rollout.steps))


def test_what_a_simulator_or_a_model_wrote_is_shown_as_text(episodes):
    bad = hostile(episodes[0])
    for html in (tree(bad, 1), world(bad, 1), plot(bad, 1)):
        shown = Seen(html)
        assert "script" not in shown.tags and not re.search(r"\$\{|\{\{|`", html)
    assert f"why {HOSTILE}" in Seen(tree(bad, 1)).text and HOSTILE in Seen(world(bad, 1)).text
    nothing = dataclasses.replace(bad, steps=(), subgoals=())
    assert Seen(tree(nothing, 0)).acts == [0] and "not recorded" in world(dataclasses.replace(nothing, look=""), 0) and plot(nothing, 0)


def test_the_agent_is_the_named_one_unless_the_environment_names_another(tmp_path, monkeypatch):
    monkeypatch.delenv("SGD_AGENT", raising=False)
    assert named_agent(tmp_path) is None
    (tmp_path / "agent.json").write_text(json.dumps(AGENT))
    assert named_agent(tmp_path) == AGENT
    for said, source, revision in (("org/other@abc", "org/other", "abc"), ("some/folder", "some/folder", None)):
        monkeypatch.setenv("SGD_AGENT", said)
        assert named_agent(tmp_path) == {"source": source, "revision": revision}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page of a headless browser."""
    pytest.importorskip("websockets", reason="websockets is not installed")
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip("no Chromium is installed")
    with browser(program, tmp_path_factory.mktemp("browser")) as page:
        yield page


def parrot(folder, role, tokenizer, says):
    """A checkpoint that answers every prompt with the same text: the embedding of a token passes all layers unchanged, and
    the head maps that of each token of the text to the next one."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=128, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        max_position_embeddings=8192, tie_word_embeddings=False, bos_token_id=None, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    prompt = tokenizer.apply_chat_template([{"role": "user", "content": "x"}], add_generation_prompt=True, return_dict=False)
    chain = [prompt[-1], *tokenizer(says, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    assert len(set(chain)) == len(chain)
    with torch.no_grad():
        layer, embeddings = model.model.layers[0], torch.nn.functional.normalize(torch.randn(len(tokenizer), 128))
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()
        model.model.embed_tokens.weight.copy_(embeddings)
        model.lm_head.weight.zero_()
        for token, following in itertools.pairwise(chain):
            model.lm_head.weight[following] = embeddings[token]
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    about = {"role": role, "prompt_version": PROMPT_VERSION, "budget": BUDGET, "teacher": "none"}
    (folder / "sgd.json").write_text(json.dumps(about))


@pytest.fixture(scope="module")
def agent(tokenizer, tmp_path_factory):
    """A tiny agent that goes to the kitchen, again and again, for nobody checks its plan."""
    folder = tmp_path_factory.mktemp("agent")
    parrot(folder / "planner", "planner", tokenizer, "navigate_to(kitchen)")
    parrot(folder / "executor", "executor", tokenizer, "teleport to kitchen")
    config = dataclasses.replace(SubgoalAgent.of(folder).config, patience=dataclasses.asdict(Patience(checks=False)))
    SubgoalAgent(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def address(episodes, agent, tmp_path_factory):
    """Where the Space runs, started as a user starts it, with a tiny agent."""
    pytest.importorskip("gradio", reason="gradio is not installed")
    folder = tmp_path_factory.mktemp("space")
    space(folder, episodes, {"source": str(agent), "revision": None})
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    given = {name: value for name, value in os.environ.items() if name not in ("GRADIO_SERVER_NAME", "SGD_AGENT")}
    log = open(folder / "log", "w")
    server = subprocess.Popen(
        [sys.executable, "app.py"], cwd=folder, env={**given, "GRADIO_SERVER_PORT": str(port)}, stdout=log, stderr=log
    )
    try:
        until(lambda: socket.create_connection(("127.0.0.1", port), 1), 120, "the Space")
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.terminate()
        server.wait()
    assert "Traceback" not in (folder / "log").read_text()


STEP = "Number(document.querySelector('#sgd-tree .act.now').dataset.step)"
WHERE = "document.querySelector('#sgd-tree .where').textContent"


def opened(page, address, width=1280, height=1000, dark=False):
    page.open(address, width, height, dark)
    page.wait("document.querySelector('#sgd-tree .act.now') !== null")


def pick(page, component, text):
    """Choose in a dropdown as a person does: open it, take the entry."""
    for _ in range(5):
        page.click(f"document.querySelector('#{component} input')")
        if page.js("document.querySelector('ul[role=listbox]') !== null"):
            break
    page.click(f"[...document.querySelectorAll('ul[role=listbox] li')].find(entry => entry.textContent.includes({text!r}))")
    page.wait("document.querySelector('ul[role=listbox]') === null")


def live(page):
    page.click("[...document.querySelectorAll('[role=tab]')].find(tab => tab.textContent.includes('Play live'))")


@pytest.mark.slow
def test_a_recorded_episode_is_stepped_through(page, address, episodes):
    opened(page, address)
    pick(page, "sgd-arm", "oracle")
    page.wait(f"{WHERE}.includes('oracle')")
    pick(page, "sgd-arm", "hierarchical")
    page.wait(f"{WHERE}.includes('hierarchical')")
    pick(page, "sgd-task", "chemistry-mix-paint-tertiary-color")
    page.wait(f"{WHERE}.includes('tertiary')")
    [rollout] = [r for r in episodes if r.arm == "hierarchical" and r.episode.task == "chemistry-mix-paint-tertiary-color"]
    for step, done in enumerate(rollout.steps[:4], 1):
        page.click("document.getElementById('sgd-ahead')")
        page.wait(f"{STEP} === {step}")
        assert page.js("document.querySelector('#sgd-world .did').textContent").startswith(done.action)
    page.send("Input.dispatchKeyEvent", type="keyDown", key="ArrowLeft", code="ArrowLeft")
    page.wait(f"{STEP} === 3")
    last = len(rollout.steps)
    page.click(f"document.querySelector('#sgd-tree .act[data-step=\"{last}\"]')")
    page.wait(f"{STEP} === {last}")
    assert page.js("document.querySelector('#sgd-step input[type=range]').value") == str(last)
    assert str(rollout.score) in page.js("document.querySelector('#sgd-world .meters').textContent")


@pytest.mark.slow
def test_an_agent_plays_live_and_can_be_stopped(page, address):
    opened(page, address)
    live(page)
    pick(page, "sgd-live-task", "find-plant")
    page.wait("document.querySelector('#sgd-live-variation input').value.startsWith('150')")
    page.click("document.getElementById('sgd-start')")
    page.wait(f"{WHERE} === 'find-plant · variation 150 · dev · hierarchical'", 120)
    page.wait(f"{STEP} >= 2", 120)
    assert page.js("document.querySelector('#sgd-tree .goal .name').textContent") == "navigate_to(kitchen)"
    assert "kitchen" in page.js("document.querySelector('#sgd-world').textContent")
    page.click("document.getElementById('sgd-stop')")
    page.wait("document.querySelector('#sgd-tree .outcome').textContent.startsWith('stopped by you')", 60)
    shown = page.js("document.querySelectorAll('#sgd-tree .act').length") - 1
    assert page.js(STEP) == shown < 51 and page.js("document.querySelectorAll('[data-testid=error], .error').length") == 0
    page.click("document.getElementById('sgd-back')")
    page.wait(f"{STEP} === {shown - 1}")


@pytest.mark.slow
def test_an_episode_that_is_played_live_to_its_end_says_how_it_ended(page, address):
    opened(page, address)
    live(page)
    pick(page, "sgd-live-task", "find-animal")
    page.wait("document.querySelector('#sgd-live-variation input').value.startsWith('150')")
    page.click("document.getElementById('sgd-start')")
    page.wait("document.querySelector('#sgd-tree .outcome').textContent.startsWith('no progress')", 120)
    assert "51 actions" in page.js("document.querySelector('#sgd-tree .outcome').textContent")


@pytest.mark.slow
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (420, False), (420, True)])
def test_it_fits_its_window_and_asks_nothing_of_anyone_else(page, address, width, dark, tmp_path):
    opened(page, address, width, 900, dark)
    page.click("document.getElementById('sgd-ahead')")
    page.wait(f"{STEP} === 1")
    assert page.js("document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out at the side"
    assert page.js("document.body.classList.contains('dark')") == dark
    page.photograph(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 20_000
    assert [url for url in page.requested if not url.startswith((address, "data:", "blob:"))] == [] and page.complaints == []


@pytest.mark.slow
def test_it_listens_on_this_machine_only(address):
    port = int(address.rsplit(":", 1)[1].strip("/"))
    with open("/proc/net/tcp") as table:
        bound = {row.split()[1] for row in table if row.split()[3] == "0A"}
    assert {place.split(":")[0] for place in bound if place.endswith(f":{port:04X}")} == {"0100007F"}


@pytest.mark.slow
def test_a_replay_page_steps_in_a_browser(page, episodes, tmp_path):
    rollout = next(r for r in episodes if r.arm == "hierarchical" and len(r.steps) > 4)
    write_replay(rollout, tmp_path / "page.html")
    before = len(page.complaints)
    page.open((tmp_path / "page.html").as_uri(), 1280, 1000)
    page.wait("document.getElementById('where')?.textContent !== ''")
    actions = []
    for _ in range(2):
        page.click("document.getElementById('next')")
        actions.append(page.js("document.getElementById('action').textContent"))
    assert set(actions) <= {step.action for step in rollout.steps[:3]} and actions[0] != actions[1] and page.complaints[before:] == []

"""`prorl estimate` reads what `prorl serve` logs, whose options are the settings of the service."""

import json

import pytest

from prorl.bundle.policy import load_policy
from prorl.cli.app import app
from prorl.offpolicy.estimate import estimate
from prorl.offpolicy.policy import AskedTarget
from prorl.offpolicy.users import keyed_hash
from prorl.policy.guide import PolicyGuide
from prorl.serving.journal import Journal, Shown
from prorl.serving.log import read_log
from prorl.serving.settings import Serve
from tests.cli.checkout import N_ITEMS, POLICY
from tools.command_line import commands

N_USERS = 30
ITEM = (1, 1)  # the shortest and the longest path of requests for one item


@pytest.fixture(scope="module")
def policy(made):
    return load_policy(made / POLICY)


def write_log(folder, policy, length=None, model=None):
    """Sampled paths of the policy for some users, two requests each; odd items are accepted."""
    journal, requests = Journal(folder, 10**9, 60.0), []
    for number in range(2 * N_USERS):
        history = [policy.items[1 + (number + step) % N_ITEMS] for step in range(3)]
        target = policy.items[1 + (number + 9) % N_ITEMS]
        requests.append(policy.request(history, target, length=length, temperature=1.0, seed=number))
    for number, (request, (path,)) in enumerate(zip(requests, policy.guide_each(requests), strict=True)):
        items = [item.item for item in path.items]
        shown = Shown(
            request_id=f"r{number}",
            user=keyed_hash(str(number // 2), b"0123456789abcdef"),
            history=[item.item for item in request.history],
            target=request.target.item,
            items=items,
            rules=policy.catalogue_of(request).decoding,
            acceptance=request.acceptance,
            temperature=1.0,
            propensities=path.propensities,
            model=model or policy.version,
        )
        journal.show([shown])
        answers = [(place, "accepted" if item % 2 else "refused") for place, item in enumerate(items)]
        journal.answer(f"r{number}", answers)
    journal.close()
    return folder


@pytest.fixture(scope="module")
def log(policy, tmp_path_factory):
    return write_log(tmp_path_factory.mktemp("log"), policy)


def estimates(prorl, *arguments):
    status, out, err = prorl("estimate", *map(str, arguments), "--json")
    assert (status, err) == (0, "")
    found = json.loads(out)
    return found, {own["estimator"]: own for own in found["estimates"]}


def test_paths_are_estimated_by_the_estimators_of_paths(checkout, policy, log, prorl):
    found, of = estimates(prorl, log, "--temperature", "0.8", "--resamples", "200")
    assert list(of) == ["per_decision_ips", "cascade_doubly_robust"]
    guide = PolicyGuide.load(POLICY, None, policy.device, "float32").told(1.0)
    expected = estimate(read_log(log).log, AskedTarget(guide, 0.8), "per_decision_ips", n_resamples=200)
    own = of["per_decision_ips"]
    assert (own["value"], own["low"], own["high"]) == (expected.value, expected.low, expected.high)
    assert (found["version"], found["acceptance"], found["temperature"]) == (policy.version, 1.0, 0.8)
    assert found["notes"] == ["ips, snips: left out, since requests show several items"]


def test_the_policy_that_wrote_the_log_earns_what_it_earned(checkout, policy, log, prorl):
    _, of = estimates(prorl, log, "--resamples", "200")
    own = of["per_decision_ips"]
    assert own["value"] == pytest.approx(own["logged"], rel=1e-4)
    assert own["n_effective"] == pytest.approx(2 * N_USERS, rel=1e-3)
    _, told = estimates(prorl, log, "--resamples", "200", "--acceptance", "0")
    assert told["per_decision_ips"]["value"] != pytest.approx(own["value"], rel=1e-4)


def test_single_items_are_estimated_by_the_estimators_of_items(checkout, policy, prorl, tmp_path):
    written = write_log(tmp_path, policy, length=ITEM, model="another")
    found, of = estimates(prorl, written, "--interval", "normal", "--temperature", "1.5")
    assert list(of) == ["ips", "snips"]
    assert all(own["interval"] == "normal" for own in of.values())
    assert found["notes"] == [
        "written by another policy, version another: its items must have the same numbers as this one's",
        "per_decision_ips, cascade_doubly_robust: left out, since requests show one item",
    ]


def test_a_table_shows_estimates_with_intervals_and_warnings(checkout, policy, log, prorl):
    status, out, _ = prorl("estimate", str(log), "--temperature", "0.3", "--resamples", "200")
    assert status == 0
    words = out.replace("\n", " ")
    assert f"{2 * N_USERS} requests of {N_USERS} users" in words
    assert f"tiny/prorl, version {policy.version}, told acceptance 1, at temperature 0.3" in words
    (row,) = [line for line in out.splitlines() if line.startswith("per_decision_ips ")]
    assert row.split()[3] == "to"
    assert "Warning: the weights leave" in words


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "nowhere: missing, allowed: a log of the service"),
        (["log", "--temperature", "0"], "temperature: got 0.0, allowed: above 0"),
        (["log", "--acceptance", "0.4"], "acceptance: got 0.4, allowed: one of [0.0, 1.0]"),
    ],
)
def test_what_is_wrong_is_one_line(checkout, log, prorl, arguments, words):
    arguments = [str(log) if word == "log" else word for word in arguments]
    status, out, err = prorl("estimate", *arguments)
    assert (status, out) == (1, "")
    assert err.startswith(f"prorl: {words}")
    assert err.count("\n") == 1


def test_every_setting_of_the_service_but_the_token_is_an_option_with_its_default():
    options = {own.name: own for own in dict(commands(app))["prorl serve"].params}
    assert options.keys() - {"policy", "settings", "device"} == Serve.model_fields.keys() - {"token"}
    for name, field in Serve.model_fields.items():
        if name != "token" and field.default not in (None, False):
            assert options[name].help.endswith(f" (default: {field.default})")
            assert options[name].default is None, "what is not given may stand in the file of settings"


def test_options_become_settings_and_come_before_those_of_a_file(checkout, prorl, monkeypatch, tmp_path):
    served = []
    monkeypatch.setattr("prorl.serving.run.run", lambda *asked: served.append(asked))
    monkeypatch.delenv("PRORL_SERVE_TOKEN", raising=False)
    (tmp_path / "serve.json").write_text('{"serve": {"port": 8081, "batch": 7}}')
    asked = ("--settings", str(tmp_path / "serve.json"), "--port", "8082", "--log", "logs", "--log-histories")
    assert prorl("serve", *asked, "--explore", "1", "--device", "cpu") == (0, "", "")
    ((policy, settings, device),) = served
    assert (policy, device) == (POLICY, "cpu")
    assert (settings.port, settings.batch, settings.explore, settings.log_histories) == (8082, 7, 1.0, True)
    assert str(settings.log) == "logs"
    assert settings.queue == Serve.model_fields["queue"].default


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--explore", "1"], "serve.explore"),
        (["--host", "0.0.0.0"], "serve.host"),
        (["--port", "70000"], "serve.port"),
    ],
)
def test_settings_that_do_not_agree_are_one_line(checkout, prorl, monkeypatch, arguments, words):
    monkeypatch.delenv("PRORL_SERVE_TOKEN", raising=False)
    status, out, err = prorl("serve", *arguments)
    assert (status, out) == (1, "")
    assert words in err
    assert err.count("\n") == 1

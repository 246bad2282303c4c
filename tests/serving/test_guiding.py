"""The service over HTTP: guiding, feedback, re-planning, and what it refuses."""

import pytest

from tests.serving.bundles import N_ITEMS
from tests.serving.calls import ASKED, guided, ids, refused, serving, told


def test_a_path_is_what_the_policy_guides_with_titles_and_reasons(client, simulated):
    found = guided(client, acceptance=0.5, length=[2, 4])
    path = simulated.guide(["m1", "m5"], "m4", acceptance=0.5, length=(2, 4))[0]
    assert ids(found["paths"][0]) == [item.raw_id for item in path.items]
    assert [step["why"] for step in found["paths"][0]["items"]] == [list(why) for why in path.reasons]
    assert {step["propensity"] for step in found["paths"][0]["items"]} == {1.0}
    assert [item["title"] for item in found["history"]] == ["Alien (1979)", "Heat (1995)"]
    assert found["target"] == {
        "raw_id": "m4",
        "title": "The Piano (1993)",
        "attributes": ["Action", "Comedy"],
    }
    assert (found["model"], found["acceptance"], found["temperature"]) == (simulated.version, 0.5, 0.0)
    assert found["paths"][0]["judged"] is None
    assert found["note"] is None


def test_length_avoid_and_number_of_paths_are_kept(client):
    found = guided(client, length=5, n=3, avoid=["Comedy", "m3", "Film 20"])
    assert len(found["paths"]) == 3
    for path in found["paths"]:
        assert len(path["items"]) == 5
        assert not {"m3", "m20"} & set(ids(path))
        assert all("Comedy" not in step["attributes"] for step in path["items"])
    assert found["temperature"] == 1.0


def test_paths_are_judged_where_that_is_asked_for(client):
    path = guided(client, judge=True, length=3)["paths"][0]
    assert path["judged"]["target_probability"] == [0.001, 0.002, 0.004, 0.008]
    assert path["judged"]["target_rank"] == [40, 20, 10, 5]
    expected = [0.9 if int(raw_id[1:]) % 2 else 0.3 for raw_id in ids(path)]
    assert path["judged"]["acceptance"] == expected


def test_the_search_is_served_beside_the_policy(client):
    found = guided(client, guide="search", length=4, avoid=["m2"])
    assert ids(found["paths"][0]) == ["m3", "m6", "m7", "m8"]
    assert found["guide"] == "search"
    body = ASKED | {"guide": "search", "n": 2}
    assert refused(client, **body)["detail"] == "n: got 2, allowed: at most 1"


def test_without_a_simulator_it_guides_and_says_why_nothing_is_judged(policy):
    why = "this policy was released without a simulator, which judging and searching need"
    with serving(policy) as client:
        found = guided(client, judge=True)
        assert found["paths"][0]["judged"] is None
        assert found["note"] == why
        assert refused(client, **ASKED, guide="search") == {
            "detail": f"guide: {why}",
            "field": "guide",
            "suggestions": [],
        }
        assert client.get("/policy").json()["judge"] == why


def test_a_simulator_that_cannot_be_loaded_is_told_and_guiding_goes_on(simulated, monkeypatch, caplog):
    def broken(*_, **__):
        raise OSError("weights are gone")

    monkeypatch.setattr(simulated, "judged", broken)
    with serving(simulated) as client:
        guided(client)
        assert client.get("/policy").json()["judge"] == "paths cannot be judged: weights are gone"
        assert client.get("/policy").json()["search"] is None
        assert guided(client, judge=True)["note"] == "paths cannot be judged: weights are gone"
    assert "paths cannot be judged" in caplog.text


def test_after_feedback_the_next_call_goes_on_from_what_was_accepted(client, simulated):
    first = guided(client, length=[3, 5])
    shown = ids(first["paths"][0])
    assert told(client, first, "accepted", 0)[:2] == ["accepted", None]
    assert told(client, first, "refused", 1)[:2] == ["accepted", "refused"]
    second = guided(client, previous=first["request_id"])
    assert [item["raw_id"] for item in second["history"]] == ["m1", "m5", shown[0]]
    expected = simulated.guide(["m1", "m5", shown[0]], "m4", length=(2, 4), avoid=[shown[1]])[0]
    assert ids(second["paths"][0]) == [item.raw_id for item in expected.items]
    told(client, second, "refused", 0)
    third = guided(client, previous=second["request_id"], acceptance=0.0, length=1)
    assert len(third["paths"][0]["items"]) == 1
    assert third["acceptance"] == 0.0
    assert not {*shown[:2], ids(second["paths"][0])[0]} & set(ids(third["paths"][0]))


def test_a_path_all_of_which_was_accepted_is_over(client):
    first = guided(client, length=2)
    assert told(client, first, "accepted") == ["accepted", "accepted"]
    found = refused(client, 409, previous=first["request_id"])
    assert found["detail"] == "previous: the path is over: nothing is left of it to guide along"
    assert found["field"] == "previous"


def test_what_no_longer_counts_of_a_long_history_still_comes_no_more(client):
    """Ten items count; those that accepted ones push out are avoided all the same."""
    history = [f"m{number}" for number in range(10, 20)]
    guide = guided(client, history=history, length=6)
    had = set(history)
    for left in (5, 4, 3):
        told(client, guide, "accepted", 0)
        had.add(ids(guide["paths"][0])[0])
        guide = guided(client, previous=guide["request_id"])
        assert len(guide["history"]) == 10
        assert len(guide["paths"][0]["items"]) == left
        assert not had & set(ids(guide["paths"][0]))


def test_each_of_several_paths_has_answers_of_its_own(client):
    guide = guided(client, n=2, length=3)
    told(client, guide, "accepted", 0, path=1)
    assert told(client, guide, "left", path=0) == ["left", None, None]
    following = guided(client, previous=guide["request_id"], path=1)
    assert following["history"][-1]["raw_id"] == ids(guide["paths"][1])[0]
    found = refused(client, 404, previous=guide["request_id"], path=2)
    assert found["detail"] == "path: got 2, allowed: below 2"


def test_an_item_has_one_outcome_and_nobody_answers_behind_the_end(client):
    guide = guided(client, length=4)
    answer = {"route": "/feedback", "request_id": guide["request_id"]}
    told(client, guide, "accepted", 1)
    assert told(client, guide, "accepted", 1) == [None, "accepted", None, None], "the same twice is one"
    assert refused(client, 409, **answer, position=1, outcome="refused")["detail"] == (
        "position 1: it was accepted, and has one outcome"
    )
    assert refused(client, 409, **answer, position=0, outcome="left")["detail"] == (
        "position 0: an item behind it has an answer"
    )
    assert refused(client, 422, **answer, position=4, outcome="left")["detail"] == (
        "position: got 4, allowed: below 4"
    )
    assert told(client, guide, "left") == [None, "accepted", "left", None]
    assert told(client, guide, "left") == [None, "accepted", "left", None]
    assert refused(client, 409, **answer, position=3, outcome="accepted")["detail"] == (
        "position 3: the user left at position 2"
    )
    assert told(client, guide, "refused") == ["refused", "accepted", "left", None]
    whole = guided(client, length=2)
    told(client, whole, "accepted")
    answer["request_id"] = whole["request_id"]
    assert refused(client, 409, **answer, outcome="left")["field"] == "outcome"
    answer["request_id"] = "nobody"
    assert "is not known" in refused(client, 404, **answer, outcome="left")["detail"]


def test_an_unknown_title_gets_suggestions(client):
    found = refused(client, history=["m1"], target="Alein")
    assert found["field"] == "target"
    assert found["detail"].startswith("target: 'Alein' is no raw id and no title of the 40 items")
    assert "Alien (1979)" in [item["title"] for item in found["suggestions"]]
    assert refused(client, history=["m1", "Heet"], target="m2")["field"] == "history[1]"
    assert refused(client, **ASKED, avoid=["Komedy"])["field"] == "avoid[0]"


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({}, "history and target, or previous, are needed"),
        ({"history": ["m1"]}, "history and target, or previous, are needed"),
        (ASKED | {"previous": "x"}, "history and target are those of previous: leave them out"),
        ({"previous": "x"}, "previous: 'x' is not known"),
        (ASKED | {"history": []}, "history: List should have at least 1 item"),
        (ASKED | {"history": ["m1"] * 501}, "history: got 501, allowed: at most 500"),
        (ASKED | {"avoid": ["m1"] * 101}, "avoid: got 101, allowed: at most 100"),
        (ASKED | {"n": 9}, "n: got 9, allowed: at most 8"),
        (ASKED | {"n": 0}, "n: Input should be greater than or equal to 1"),
        (ASKED | {"n": "2"}, "n: Input should be a valid integer"),
        (ASKED | {"length": 7}, "length: got (7, 7), allowed: 1 to 6"),
        (ASKED | {"length": [4, 2]}, "length: got (4, 2), allowed: 1 to 6"),
        (ASKED | {"acceptance": 0.3}, "acceptance: got 0.3, allowed: one of [0.0, 0.5, 1.0]"),
        (ASKED | {"guide": "oracle"}, "guide: Input should be 'policy' or 'search'"),
        (ASKED | {"temperature": 2.0}, "temperature: Extra inputs are not permitted"),
        (ASKED | {"target": "x" * 501}, "target: String should have at most 500 characters"),
        (ASKED | {"avoid": ["Action", "Comedy", "Drama", "Sci-Fi"]}, "40 items: with those forbidden"),
        ([], "Input should be a valid dictionary"),
    ],
)
def test_a_request_that_is_not_allowed_is_answered_in_words(client, body, detail):
    answer = client.post("/guide", json=body)
    assert answer.status_code in (404, 422)
    assert detail in answer.json()["detail"]
    assert set(answer.json()) == {"detail", "field", "suggestions"}


@pytest.mark.parametrize(
    "body", [b"{", b"\xff", b"null", b'"\\ud800"', b'{"n": 1e999}', b"[" * 5000, b"1" * 6000, b"\0"]
)
def test_a_body_that_is_no_request_gets_a_prompt_answer(client, body):
    answer = client.post("/guide", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422)
    assert isinstance(answer.json()["detail"], str)


def test_only_the_last_requests_are_remembered(policy):
    with serving(policy, remembered=3) as client:
        guides = [guided(client) for _ in range(5)]
        assert len(client.app.state.service.remembered) == 3
        assert "the last 3 requests are" in refused(client, 404, previous=guides[1]["request_id"])["detail"]
        guided(client, previous=guides[2]["request_id"])


def test_items_are_found_by_what_is_typed(client):
    found = client.get("/items", params={"q": "ali"}).json()["items"]
    assert [item["title"] for item in found][:2] == ["Alien (1979)", "Aliens (1986)"]
    assert len(client.get("/items", params={"q": "film", "limit": 3}).json()["items"]) == 3
    assert len(client.get("/items").json()["items"]) == 10
    assert client.get("/items", params={"q": "x" * 201}).status_code == 422
    assert client.get("/items", params={"limit": 51}).json()["field"] == "limit"


def test_what_is_served_is_told(client, simulated):
    assert client.get("/health").json() == {"status": "ok", "version": simulated.version}
    told = client.get("/policy").json()
    assert told == {
        "name": "prorl",
        "dataset": "tiny",
        "version": simulated.version,
        "n_items": N_ITEMS,
        "acceptances": [0.0, 0.5, 1.0],
        "acceptance": 1.0,
        "shortest": 3,
        "longest": 6,
        "history": 10,
        "explore": None,
        "search": None,
        "judge": None,
    }
    schema = client.get("/openapi.json").json()
    assert set(schema["paths"]) == {"/guide", "/feedback", "/items", "/policy", "/health", "/metrics"}
    assert {"401", "404", "409", "422", "429", "503"} < set(schema["paths"]["/guide"]["post"]["responses"])

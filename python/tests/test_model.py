"""Questions to a trained model: ids and order of who asks, values of the command."""

import copy
import csv
import datetime
import io
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL, events

import mspipe

COMMAND = str(Path(sys.executable).with_name("mspipe"))


@pytest.fixture(scope="module")
def model(trained):
    return mspipe.Model.load(trained)


def test_scores_are_those_of_the_command(model, trained, columns, tmp_path):
    src, dst = columns["user_id"][:50], columns["item_id"][50:100]
    scores = model.score(src, dst)
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("user_id,item_id\n" + "".join(f"{s},{d}\n" for s, d in zip(src, dst)))
    done = subprocess.run([COMMAND, "score", trained.folder, "--pairs", pairs], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert np.array_equal(scores["logit"], np.array([row["logit"] for row in rows], dtype=np.float32))
    assert scores["known_src"].all() and scores["known_dst"].all()
    assert scores["score"].dtype == np.float32 and len(scores["score"]) == 50
    # No pair depends on the others, nor on their order.
    assert np.array_equal(model.score(src[::-1], dst[::-1])["logit"], scores["logit"][::-1])
    assert model.score(src[7], dst[7])["logit"][0] == scores["logit"][7]


def test_times_are_numbers_or_text(model, columns):
    src, dst, last = columns["user_id"][:4], columns["item_id"][:4], int(columns["timestamp"][-1])
    assert model.last_time == str(last)
    now = model.score(src, dst)["logit"]
    for time in (last + 1, float(last + 1), str(last + 1), [last + 1] * 4, np.full(4, last + 1)):
        assert np.array_equal(model.score(src, dst, time)["logit"], now)
    with pytest.raises(mspipe.Error, match="pair 0"):
        model.score(src, dst, last - 1)
    with pytest.warns(UserWarning, match="is it in the stream's unit"):
        model.score(src, dst, last * 1000)
    with pytest.raises(mspipe.Error, match="found 2 times, expected one$"):
        model.embed(src, [last + 1] * 2)
    with pytest.raises(mspipe.Error, match="found 3 times, expected one for all, or 4"):
        model.score(src, dst, [last + 1] * 3)
    with pytest.raises(mspipe.Error, match="expected"):
        model.score(src, dst, "soon")


def test_unknown_and_wrong_ids_are_told(model):
    scores = model.score([4], [1000])
    assert not scores["known_src"][0] and scores["known_dst"][0]
    with pytest.raises(mspipe.Error, match="alice"):
        model.score(["alice"], [1000])
    with pytest.raises(mspipe.Error, match="src, row 1: found the id -1, expected a whole number that is not negative"):
        model.score([5, -1], [1000, 1000])
    with pytest.raises(mspipe.Error, match="sources.*row 0: found '.ud800', expected text in UTF-8"):
        model.top_k("\ud800")


@pytest.mark.parametrize("wrong", [None, [None], [float("nan")], [1.5], [True], {5, 8}, [[5, 8]]])
def test_what_is_no_id_is_refused(model, wrong):
    with pytest.raises(mspipe.Error, match="^(the column 'src'|src)"):
        model.score(wrong, [1000])
    with pytest.raises(mspipe.Error, match="^(the column 'dst'|dst)"):
        model.score([5], wrong)
    with pytest.raises(mspipe.Error, match="^(the column 'nodes'|nodes)"):
        model.embed(wrong)


def test_what_is_no_time_or_count_is_refused(model):
    for wrong in ([None], [float("nan")], True, np.uint64(2**63), np.timedelta64(5, "s")):
        with pytest.raises(mspipe.Error, match="time"):
            model.score([5], [1000], wrong)
    for wrong in (0, -1, 1.5, "3"):
        with pytest.raises(mspipe.Error, match="k: found"):
            model.top_k([5], k=wrong)


def test_questions_are_exact_and_in_any_container(model, columns):
    import decimal

    last = int(columns["timestamp"][-1])
    one = model.score([5], [1000], last + 1)["logit"]
    with decimal.localcontext(prec=2):
        assert model.score([5], [1000], decimal.Decimal(last + 1))["logit"] == one
    for five in (decimal.Decimal(5), decimal.Decimal("5.0"), decimal.Decimal("50E-1")):
        assert model.score([five], [1000], last + 1)["logit"] == one
    for wrong in ("5.5", "-1", str(2**64)):
        with pytest.raises(mspipe.Error, match=f"src, row 1: found {wrong}, expected whole numbers"):
            model.score([decimal.Decimal(5), decimal.Decimal(wrong)], [1000, 1000])
    with pytest.raises(mspipe.Error, match="'sources', row 1: found a list of 2, expected a list of 1"):
        model.top_k([[5], [5, 8]])
    assert model.score(np.ma.masked_array([5], mask=False), [1000], last + 1)["logit"] == one
    pandas = pytest.importorskip("pandas")
    with pytest.raises(mspipe.Error, match="nodes, row 1: found"):
        model.embed(pandas.Series([5, None], index=[7, 8]))
    for wrong in ({"exclude_seen": "no"}, {"k": True}):
        with pytest.raises(mspipe.Error, match="expected"):
            model.top_k([5], **wrong)
    for path, wrong in ((None, {}), (b"x", {}), ("x", {"threads": -1}), ("x", {"replay": "no"}), ("x", {"data": 3})):
        with pytest.raises(mspipe.Error, match="expected"):
            mspipe.Model.load(path, **wrong)


def test_new_events_have_the_units_of_the_stream(columns, tmp_path):
    dataset = mspipe.Dataset(columns, time_unit="ms", missing="zero")
    run = mspipe.Trainer(**SMALL, out=tmp_path / "run").fit(dataset, progress=False)
    model = mspipe.Model.load(run)
    new = {name: [column[-1]] for name, column in columns.items()} | {"amount": [None]}
    assert model.update({**new, "timestamp": [columns["timestamp"][-1] + 1]})["events"] == 1
    assert model.last_time == str((int(columns["timestamp"][-1]) + 1) / 1000)


def test_the_best_destinations_come_first(model, columns):
    best = model.top_k([5, 8], k=3)
    assert best["src"].tolist() == [5] * 3 + [8] * 3
    items = np.unique(columns["item_id"])
    all_of_5 = model.score(np.full(len(items), 5), items)["logit"]
    assert np.allclose(best["logit"][:3], np.sort(all_of_5)[::-1][:3], rtol=0, atol=1e-6)
    assert best["dst"][0] == items[all_of_5.argmax()]
    seen = set(columns["item_id"][columns["user_id"] == 5].tolist())
    unseen = model.top_k([5], k=50, exclude_seen=True)
    assert set(unseen["dst"].tolist()) == set(items.tolist()) - seen


def test_embeddings_are_rows_of_nodes(model):
    nodes = model.nodes()
    users = nodes["node"][nodes["side"] == "source"]
    rows = model.embed(users)
    assert rows.shape == (len(users), model.width) and rows.dtype == np.float32
    assert np.array_equal(model.embed(users[3:5]), rows[3:5])
    items = nodes["node"][nodes["side"] == "destination"]
    assert model.embed(items, side="destination").shape == (len(items), model.width)
    for wrong in ("left", None):
        with pytest.raises(mspipe.Error, match="expected source or destination"):
            model.embed(users, side=wrong)


def test_memory_follows_new_events(trained, tmp_path):
    model = mspipe.Model.load(trained)
    last = int(model.last_time)
    new = {
        "user_id": [5, 6],
        "item_id": [1000, 1007],
        "timestamp": [last + 10, last + 20],
        "amount": [0.5, 0.25],
        "price": [1.0, 2.0],
    }
    before = model.score([5], [1000], last + 30)["logit"][0]
    followed = model.update(new)
    assert followed == {"events": 2, "late_accepted": 0, "late_refused": 0, "new_nodes": 1}
    assert model.events == 402 and model.last_time == str(last + 20)
    after = model.score([5], [1000], last + 30)["logit"][0]
    assert after != before
    with pytest.warns(UserWarning, match='2 late events were left out.*late="accept"'):
        assert model.update({**new, "timestamp": [last, last]})["late_refused"] == 2
    state = model.save(tmp_path / "state.safetensors")
    assert mspipe.Model.load(state).score([5], [1000], last + 30)["logit"][0] == after
    # Features are taken by their names; one that is missing, and a time that is far ahead, are refused.
    again = mspipe.Model.load(trained)
    again.update({name: new[name] for name in ("price", "amount", "timestamp", "item_id", "user_id")})
    assert again.score([5], [1000], last + 30)["logit"][0] == after
    with pytest.raises(mspipe.Error, match="there is no `amount`, and `amt` was not among them"):
        again.update({"amt" if name == "amount" else name: column for name, column in new.items()})
    later = {**new, "timestamp": [(last + 10) * 1000, (last + 20) * 1000]}
    with pytest.raises(mspipe.Error, match="max_jump"):
        again.update(later)
    assert again.update(later, max_jump="off")["events"] == 2
    for unknown in ("columns", "batch_size", "split", "ids", "bipartite", "node_feature_file"):
        with pytest.raises(mspipe.Error, match=f"unknown keyword '{unknown}' of update"):
            again.update(new, **{unknown: "src=item_id"})
    with pytest.warns(UserWarning, match="columns that are left out: `note`"):
        mspipe.Model.load(trained).update({**new, "note": ["a", "b"]})
    for way in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="copied or pickled; .* load"):
            way(again)
    with pytest.raises(mspipe.Error, match="path: found NoneType, expected"):
        model.save(None)
    with pytest.raises(mspipe.Error, match="threads: found '2'"):
        mspipe.Model.load(trained, threads="2")
    with pytest.raises(mspipe.Error, match="force|exists"):
        model.save(state)
    model.save(state, force=True)
    with pytest.raises(mspipe.Error, match="a state"):
        mspipe.Model.load(state).eval()


def test_new_events_have_the_columns_that_were_chosen(columns, tmp_path):
    names = dict(zip(["a", "b", "c", "d", "e", "f"], columns.values()))
    dataset = mspipe.Dataset(names, src="a", dst="b", time="c", label="d", features=["f"])
    run = mspipe.Trainer(**SMALL, out=tmp_path / "run").fit(dataset, progress=False)
    model = mspipe.Model.load(run, data=dataset)
    last = int(model.last_time)
    new = {"a": [5], "b": [1000], "c": [last + 10], "d": [0], "e": [1.0], "f": [2.0]}
    assert model.update(new)["events"] == 1
    # Others are still chosen by name; and what is a stream of its own is none of this one.
    assert model.update({**new, "c": [last + 20]}, label="d")["events"] == 1
    with pytest.raises(mspipe.Error, match="found a Dataset"):
        model.update(dataset)
    assert 0 <= mspipe.Model.load(run).eval(test_only=True, progress=False)["test"]["ap"] <= 1


def test_the_weights_can_be_measured_again(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(trained.folder)
    model = mspipe.Model.load(".")
    monkeypatch.chdir(tmp_path)
    measured = model.eval(progress=False)
    assert 0 <= measured["test"]["ap"] <= 1 and 0 <= measured["val"]["ap"] <= 1
    alone = model.eval(test_only=True, progress=False)
    assert alone["val"] is None and alone["test"] == measured["test"]


def test_text_ids_come_back_as_text(tmp_path):
    columns = events()
    columns["user_id"] = np.array([f"u{one}" for one in columns["user_id"]])
    columns["item_id"] = np.array([f"i{one}" for one in columns["item_id"]])
    run = mspipe.Trainer(**SMALL, out=tmp_path / "run").fit(columns, progress=False)
    model = mspipe.Model.load(run.folder)
    best = model.top_k(["u5", "u8"], k=2)
    assert best["src"].tolist() == ["u5", "u5", "u8", "u8"]
    assert all(node.startswith("i") for node in best["dst"])
    assert {node[0] for node in model.nodes()["node"]} == {"u", "i"}


def test_a_state_has_the_names_of_its_stream(columns, tmp_path):
    def stream(user, price="price"):
        renamed = {"price": columns["price"], "user_id": [f"{user}{i}" for i in columns["user_id"]]}
        ends = {**columns, **renamed}
        return mspipe.Dataset({price if name == "price" else name: column for name, column in ends.items()})

    run = mspipe.Trainer(**SMALL, out=tmp_path / "run").fit(stream("u"), progress=False)
    known = mspipe.Model.load(run, data=stream("u")).score("u5", "1000")
    assert known["known_src"].all()
    assert stream("a").hash == stream("u").hash
    with pytest.raises(mspipe.Error, match="knows a node as u59, which is a59 in .*give that, or a stream with its names"):
        mspipe.Model.load(run, data=stream("a"))
    with pytest.raises(mspipe.Error, match="knows a feature as price, which is cost in"):
        mspipe.Model.load(run, data=stream("u", "cost"))
    replayed = mspipe.Model.load(run, data=stream("a"), replay=True)
    assert replayed.score("a5", "1000")["logit"] == known["logit"]


def test_moments_beyond_nanoseconds_are_times(tmp_path):
    days = [datetime.datetime(2300, 1, 1) + datetime.timedelta(day) for day in range(200)]
    stream = {"src": np.arange(200) % 7, "dst": 100 + np.arange(200) % 5, "time": days}
    model = mspipe.Model.load(mspipe.Trainer(**SMALL, out=tmp_path / "run").fit(stream, progress=False))
    later = days[-1] + datetime.timedelta(1)
    one = model.score([5], [101], later.isoformat())["logit"]
    for time in (later, [later], np.array([later], "datetime64[us]"), np.datetime64(later, "s")):
        assert model.score([5], [101], time)["logit"] == one


def test_answers_are_tables_for_others(model):
    best = model.top_k([5], k=4)
    polars = pytest.importorskip("polars")
    pyarrow = pytest.importorskip("pyarrow")
    pandas = pytest.importorskip("pandas")
    assert pandas.DataFrame(best)["logit"].tolist() == best["logit"].tolist()
    assert pyarrow.table(best).column_names == ["src", "dst", "logit", "score"]
    assert polars.DataFrame(best).shape == (4, 4)
    assert "<table>" in best._repr_html_() and "4 rows" in repr(best)


def test_numbers_of_lists_are_features_with_names(columns, tmp_path):
    columns["emb"] = (np.arange(800, dtype=np.float32) / 800).reshape(400, 2)
    run = mspipe.Trainer(**SMALL, out=tmp_path / "run").fit(columns, progress=False)
    last = int(columns["timestamp"][-1])
    new = {"user_id": [5], "item_id": [1000], "timestamp": [last + 10], "amount": [0.5], "price": [1.0], "emb": [[0.25, 0.75]]}

    def followed(of):
        model = mspipe.Model.load(run)
        model.update(of)
        return model.score([5], [1000], last + 30)["logit"][0]

    assert followed(new) == followed(dict(reversed(new.items())))
    with pytest.raises(mspipe.Error, match=r"there is no `emb\[0\]`, `emb\[1\]`, and `vec\[0\]`"):
        followed({"vec" if name == "emb" else name: column for name, column in new.items()})


def test_what_a_model_reads_of_new_events_is_said(tmp_path):
    count = 200
    plain = {"src": np.arange(count) % 7, "dst": 100 + np.arange(count) % 5, "time": 1_700_000_000_000 + 1000 * np.arange(count)}
    stream = mspipe.Dataset(plain, time_unit="ms")
    model = mspipe.Model.load(mspipe.Trainer(**SMALL, out=tmp_path / "run").fit(stream, progress=False))
    # The unit is that of numbers; a moment is one without it.
    moment = np.array([1_700_000_000 + count], "datetime64[s]")
    assert model.update({"src": [1], "dst": [101], "time": moment})["events"] == 1
    assert model.last_time == str(1_700_000_000 + count)
    with pytest.warns(UserWarning, match="the model reads no features of events"):
        model.update({"src": [1], "dst": [101], "time": moment + 1, "amount": [2.0]})

"""Settings of a run, from the schema of the options. Written by `python -m mspipe._stubs`; do not change it by hand."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Literal, TypedDict

#: What the command line takes as text; a list is joined with commas.
Text = str | int | float | PathLike[str] | Sequence[str | int | float]


class Reading(TypedDict, total=False):
    """Keywords of `mspipe.Dataset` that say how a stream is read, and settings of a run too."""

    edge_feature_file: str | PathLike[str] | None
    node_feature_file: str | PathLike[str] | None
    format: Text | None
    sort: bool | None
    no_header: bool | None
    ids: Literal["auto", "number", "text"] | None
    bipartite: bool | Literal["auto", "yes", "no"] | None
    time_unit: Literal["auto", "s", "ms", "us", "ns"] | None
    missing: Literal["error", "zero", "mean"] | None
    split: Text | None
    split_at: Text | None


class Settings(Reading, total=False):
    """Keywords of `mspipe.Trainer`: the options of `mspipe train`. `None` is as if one was not given.

    * `edge_feature_file: str | PathLike[str]`: Edge features that are not in the stream's file, one row per event:
      .npy, .npz (FILE.npz:NAME) or PyTorch's .pt.
    * `node_feature_file: str | PathLike[str]`: Node features, one row per node: .npy, .npz (FILE.npz:NAME) or
      PyTorch's .pt.
    * `task: Literal["link", "node", "edge"]`: What to train [default: link].
    * `init: str | PathLike[str]`: Start from these weights: a run's folder, which brings its settings too (options
      given here take precedence), or a file (safetensors, TGL's .pkl).
    * `model: Literal["tgn", "jodie", "apan"]`: Model to train [default: tgn].
    * `sampler: Literal["recent", "uniform"]`: Which past events a root sees [default: recent].
    * `time_delta: Literal["message", "query"]`: Time difference for the memory updater [default: message; query for
      apan and for `protocol` tgl and mspipe].
    * `pair_history: bool | Literal["on", "off"]`: Whether the link predictor also reads what the two nodes have had
      to do with each other: how often and when they met, and how busy each is, counted in the stream itself and so
      never stale [default: on; off with `protocol` tgl, dyglib and mspipe].
    * `memory_write: Literal["event", "read"]`: When a node's memory is written [default: event].
    * `mail_aggregation: Literal["last", "mean"]`: How mail that reaches a node in one batch is combined [default:
      last].
    * `mail_slots: int`: Mail slots per node (apan) [default: 10]; from 1 to 128.
    * `layers: int`: Attention layers (tgn) [default: 1]; from 1 to 4.
    * `time_encoding: Literal["trained", "fixed"]`: Whether time encodings are trained [default: trained].
    * `fanout: int`: Past events sampled per root (tgn), or that receive a root's mail (apan) [default: 10]; from 1 to
      128.
    * `width: int`: Width of memory and embeddings [default: 100]; from 1 to 16,384.
    * `time_width: int`: Width of time encodings [default: 100]; from 1 to 1,500.
    * `heads: int`: Attention heads; must divide the width [default: 2]; from 1 to 128.
    * `dropout: float`: Dropout on a layer's output [default: 0.1].
    * `attention_dropout: float`: Dropout on attention weights [default: 0.1].
    * `device: str`: Device: auto, cpu, gpu, gpu:N, gpu:local-rank (the one with the number that a process of `ranks`
      mpi has on its machine), software or software:N [default: auto].
    * `kernels: str`: Kernels to run: auto (those for the adapter's class), gpu or software [default: auto].
    * `limits: str`: Limits to ask of the adapter: adapter (all that it offers), webgpu (what WebGPU guarantees), or
      alignment:N (all but slices of buffers, which begin at multiples of N bytes) [default: adapter].
    * `epochs: int`: Passes over the training events, at most: see `patience` [default: 50; 5 with `protocol` tgl and
      mspipe]; from 1 to 1,000,000.
    * `batch_size: int`: Events per batch [default: 600; 200 with `protocol` dyglib]; from 1 to 715,827,882.
    * `ranks: str`: Train with several ranks that share each batch: mpi for the processes of an MPI job, mpi:R for R
      of them and no other number, threads:R for R threads of this one. R ranks with a batch of B give what one
      process gives with R x B.
    * `seed: int`: Seed of every random choice [default: 0].
    * `learning_rate: float`: Learning rate; with `lr_schedule` its highest value [default: 0.001; 0.0001 with
      `protocol` tgl, dyglib and mspipe].
    * `scale_learning_rate: Literal["none", "sqrt-ranks"]`: What `learning_rate` is multiplied by with `ranks`
      [default: none].
    * `lr_schedule: Literal["constant", "cosine", "linear"]`: What the learning rate does after `warmup`, over the
      iterations of all `epochs` [default: constant].
    * `warmup: int`: Iterations over which the learning rate first rises in equal steps; 0: none [default: 0].
    * `optimizer: Literal["adam", "sgd"]`: What moves the weights [default: adam].
    * `weight_decay: float`: Decoupled weight decay (AdamW): before each step all weights are multiplied by 1 -
      learning rate x W [default: 0].
    * `clip_norm: float`: Largest norm of the gradients of all weights together; larger ones are scaled down to it
      [default: none].
    * `monitor: Literal["val-ap", "val-ap-batch-mean", "val-mrr", "val-auc"]`: Measure of the validation part that
      chooses the epoch that is tested, and that `patience` watches [default: val-ap; val-mrr with `protocol` tgb;
      val-ap-batch-mean with `protocol` mspipe].
    * `patience: int`: End training after so many epochs in a row that are not better than the best one before; 0:
      never [default: 5; 0 with `protocol` tgl and mspipe].
    * `eval_test_each_epoch: bool`: Also evaluate the test part after each epoch (on a copy of the memory) [default:
      False].
    * `protocol: Literal["default", "tgl", "tgb", "dyglib", "mspipe"]`: Protocol that the numbers are measured under
      [default: default].
    * `hide_batch: bool | Literal["on", "off"]`: Whether the events of a batch are hidden from one another, in
      training and evaluation; off: a batch's earlier events are sampled like any of the past. An MRR is printed with
      it [default: off; on with `protocol` tgb].
    * `eval_seed: int`: Seed of what an evaluation draws: negatives, candidates, past events; runs with another `seed`
      are judged by the same ones [default: 0].
    * `candidates: str`: Candidates that a destination is ranked among with `protocol` tgb: this many other
      destinations per event (at most all there are), so many of which up to half are destinations that the source has
      in training (TGB's generator), or recorded lists [default: 100].
    * `node_epochs: int`: Passes of the classifier over the training labels [default: 20]; from 1 to 1,000,000.
    * `node_batch_size: int`: Labels per batch [default: 200]; from 1 to 2,147,483,647.
    * `node_learning_rate: float`: Adam's learning rate for the classifier [default: 0.001].
    * `balance: Literal["none", "sample", "weights"]`: How classes weigh against one another; positive labels are
      rare, so epochs of `sample` are short (`node_epochs` 100) [default: none].
    * `edge_features: str`: Edge features: zero (none), random:WIDTH, file (the stream's own, if it has any), or
      standardize (the same, each column less its mean, over its standard deviation, both of the training part)
      [default: file].
    * `node_features: str`: Node features: zero (none), random:WIDTH (an identity of each node, as TGLite's examples
      draw for Wikipedia), or file (the stream's own, if it has any) [default: file].
    * `format: str`: Layout of the events: jodie, snap, tgl, dgb, tgb, tgb-seq, parquet, gdelt or csv; detected from
      the content if not given.
    * `sort: bool`: Sort events by time (stable; labels and features follow) [default: False].
    * `no_header: bool`: The first line is an event: columns 1, 2 and 3 are source, destination and time, unless
      `columns` says otherwise [default: False].
    * `ids: Literal["auto", "number", "text"]`: Ids: number, text, or auto (numbers if all are, without leading zeros)
      [default: auto].
    * `bipartite: bool | Literal["auto", "yes", "no"]`: Whether sources and destinations are nodes of two kinds; auto:
      if their columns are named accordingly (user and item, buyer and product) [default: auto].
    * `time_unit: Literal["auto", "s", "ms", "us", "ns"]`: Unit of times that are numbers; all but auto converts them
      to seconds [default: auto].
    * `missing: Literal["error", "zero", "mean"]`: How missing feature values are treated (empty, NA, nan, null)
      [default: error].
    * `split: str`: Shares of training and validation events; the rest is for test [default: the stream's own split,
      else 0.7,0.15].
    * `split_at: str`: When validation and test begin: numbers in the stream's unit, or dates.
    * `limit_events: int`: Use only the first N events of the stream.
    * `out: str | PathLike[str]`: Folder of the run; must not hold a run yet [default: runs/DATA-MODEL-NUMBER].
    * `probe_every: int`: Compare each N-th iteration with what memory that is not stale would give: errors of memory
      and of gradients, their norms and smoothness, into metrics.jsonl and the report. Costs a second forward pass an
      iteration, and changes no number of the run.
    * `log: Literal["tensorboard"]`: Also write losses, metrics and settings as another program reads them, into the
      run's folder.
    * `threads: int`: Worker threads [default: one per core]; from 1 to 1,024.
    * `checkpoint_every: str`: How often to write a checkpoint for --resume, besides at the end of each epoch: a
      number of iterations, a time (90s, 10m, 2h), epoch (only then), or never [default: 10m].
    * `max_time: str`: End training after the first iteration beyond this time (90s, 10m, 2h; counted from the start
      of training, anew after --resume) with a checkpoint, and test the best epoch that has ended (`task` link).
    * `no_memory_check: bool`: Start even if the estimate (--dry-run) exceeds the available RAM [default: False].
    * `profile: bool`: Measure the cost of each operation of an iteration: a table at the end, and `profile` in
      summary.json [default: False].
    * `schedule: str`: How stages overlap: sequential, prefetch, staleness:K, mspipe, freshest, freshest:K,
      exact-overlap, auto, or replay:FILE (each k as in another run's ledger.jsonl). A measured k is 8 at most
      [default: auto; sequential with `memory` host, `ranks` or `profile`].
    * `memory: Literal["device", "host"]`: Where node memory is kept [default: device].
    * `features: str`: Where edge and node features are kept: host (in RAM, mapped; the rows of a batch are gathered
      there and cross the bus), device (in its memory; a batch says which rows it wants), device:SIZE (as many rows as
      fit into SIZE of its memory, such as device:2GiB, which are those that were wanted last; the others come with
      the batch), or auto (on a GPU as many as its memory has room for, else host) [default: auto].
    * `emulate_link: str`: With memory on the host, emulate a bus of this bandwidth and latency for what crosses it in
      training; its rows, and events/s, are EMULATED.
    * `queue_depth: int`: Batches that may be ready ahead of the stage that takes them [default: 2]; from 1 to 64.
    * `mitigation: Literal["none", "catch-up", "pres", "similarity", "similarity-released"]`: Mitigation of staleness
      [default: none].
    * `mitigation_keep: float`: Mitigation: share of a corrected row that is kept (λ of similarity; γ of pres to begin
      with, which is trained) [default: 0.9].
    * `coherence: float`: Mitigation: weight in the loss of the coherence of written rows with what they were (β of
      pres) [default: 0.1].
    * `mitigation_quantile: float`: Mitigation: correct rows whose age is above this quantile of their batch [default:
      0.99].
    * `seeds: int`: Train this many runs, with the seeds `seed`, `seed` + 1 and so on, each in a folder seed-S of
      `out`, and print mean and standard deviation of their tests; from 1 to 1,000.
    """

    task: Literal["link", "node", "edge"] | None
    init: str | PathLike[str] | None
    model: Literal["tgn", "jodie", "apan"] | None
    sampler: Literal["recent", "uniform"] | None
    time_delta: Literal["message", "query"] | None
    pair_history: bool | Literal["on", "off"] | None
    memory_write: Literal["event", "read"] | None
    mail_aggregation: Literal["last", "mean"] | None
    mail_slots: int | None
    layers: int | None
    time_encoding: Literal["trained", "fixed"] | None
    fanout: int | None
    width: int | None
    time_width: int | None
    heads: int | None
    dropout: float | None
    attention_dropout: float | None
    device: Text | None
    kernels: Text | None
    limits: Text | None
    epochs: int | None
    batch_size: int | None
    ranks: Text | None
    seed: int | None
    learning_rate: float | None
    scale_learning_rate: Literal["none", "sqrt-ranks"] | None
    lr_schedule: Literal["constant", "cosine", "linear"] | None
    warmup: int | None
    optimizer: Literal["adam", "sgd"] | None
    weight_decay: float | None
    clip_norm: float | None
    monitor: Literal["val-ap", "val-ap-batch-mean", "val-mrr", "val-auc"] | None
    patience: int | None
    eval_test_each_epoch: bool | None
    protocol: Literal["default", "tgl", "tgb", "dyglib", "mspipe"] | None
    hide_batch: bool | Literal["on", "off"] | None
    eval_seed: int | None
    candidates: Text | None
    node_epochs: int | None
    node_batch_size: int | None
    node_learning_rate: float | None
    balance: Literal["none", "sample", "weights"] | None
    edge_features: Text | None
    node_features: Text | None
    limit_events: int | None
    out: str | PathLike[str] | None
    probe_every: int | None
    log: Literal["tensorboard"] | None
    threads: int | None
    checkpoint_every: Text | None
    max_time: Text | None
    no_memory_check: bool | None
    profile: bool | None
    schedule: Text | None
    memory: Literal["device", "host"] | None
    features: Text | None
    emulate_link: Text | None
    queue_depth: int | None
    mitigation: Literal["none", "catch-up", "pres", "similarity", "similarity-released"] | None
    mitigation_keep: float | None
    coherence: float | None
    mitigation_quantile: float | None
    seeds: int | None

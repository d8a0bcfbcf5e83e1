"""PyG's TGN on a stream that `mspipe-bench peers` wrote, one epoch at a time.

    python pyg_tgn.py FOLDER

The model is put together as PyG documents it: TGNMemory with IdentityMessage and
LastAggregator, LastNeighborLoader, one TransformerConv over memory with the relative time
encoding and the edge features of the sampled events, and a link predictor of two linear
layers. Batches are slices of tensors: a data loader would only cost time.

FOLDER holds job.json and little-endian arrays without a header: src, dst, time (i64, one an
event), edge (f32, [events, edge_width]), and negatives (i64): train-N for epoch N, val, test.

Each line of standard input is a command, answered with one line of JSON on standard output:

    product R I C   GFLOP/s of an f32 matrix product of R x I and I x C, median of 11
    epoch N         train epoch N, then score validation and test with the memory carried on;
                    logits go to val.scores and test.scores (f32, positives, then negatives)

At the end of the input the program ends.
"""

import json
import platform
import sys
import time
from pathlib import Path


def answer_to_standard_output():
    """Answers go where standard output was; what libraries print goes to standard error."""
    out = sys.stdout
    sys.stdout = sys.stderr

    def answer(**fields):
        print(json.dumps(fields), file=out, flush=True)

    return answer


answer = answer_to_standard_output()
try:
    import torch
    import torch_geometric
    from torch_geometric.nn import TransformerConv
    from torch_geometric.nn.models.tgn import (
        IdentityMessage,
        LastAggregator,
        LastNeighborLoader,
        TGNMemory,
    )
except ImportError as error:
    answer(missing=str(error))
    sys.exit(3)


class Embedding(torch.nn.Module):
    """Attention of a node over its last events."""

    def __init__(self, job, memory):
        super().__init__()
        self.time_enc = memory.time_enc
        self.conv = TransformerConv(
            job["width"],
            job["width"] // job["heads"],
            heads=job["heads"],
            dropout=job["attention_dropout"],
            edge_dim=job["time_width"] + memory.raw_msg_dim,
        )

    def forward(self, z, last_update, edge_index, t, msg):
        age = (last_update[edge_index[0]] - t).to(z.dtype)
        return self.conv(z, edge_index, torch.cat([self.time_enc(age), msg], dim=-1))


class LinkPredictor(torch.nn.Module):
    """Score of a pair of embeddings."""

    def __init__(self, width):
        super().__init__()
        self.src = torch.nn.Linear(width, width)
        self.dst = torch.nn.Linear(width, width)
        self.out = torch.nn.Linear(width, 1)

    def forward(self, src, dst):
        return self.out((self.src(src) + self.dst(dst)).relu())


class Stream:
    """The arrays of a folder, mapped."""

    def __init__(self, folder, job):
        self.folder = folder
        events = job["events"]
        self.src = self.column("src", events)
        self.dst = self.column("dst", events)
        self.time = self.column("time", events)
        width = job["edge_width"]
        if width > 0:
            edge = torch.from_file(
                str(folder / "edge"), size=events * width, dtype=torch.float32
            )
            self.edge = edge.view(events, width)
        else:
            # TGNMemory drops messages of width 0, so there has to be a column.
            self.edge = torch.zeros(events, 1)

    def column(self, name, rows):
        return torch.from_file(str(self.folder / name), size=rows, dtype=torch.int64)


class Peer:
    """The model, its optimiser and its memory."""

    def __init__(self, folder, job):
        self.job = job
        self.folder = folder
        self.stream = Stream(folder, job)
        torch.manual_seed(job["seed"])
        nodes, width, edge_width = job["nodes"], job["width"], self.stream.edge.size(1)
        self.memory = TGNMemory(
            nodes,
            edge_width,
            width,
            job["time_width"],
            message_module=IdentityMessage(edge_width, width, job["time_width"]),
            aggregator_module=LastAggregator(),
        )
        self.neighbors = LastNeighborLoader(nodes, size=job["fanout"])
        self.embedding = Embedding(job, self.memory)
        self.predictor = LinkPredictor(width)
        self.modules = [self.memory, self.embedding, self.predictor]
        # The embedding holds the memory's time encoding too: each parameter once.
        parameters = dict.fromkeys(p for m in self.modules for p in m.parameters())
        self.parameters = sum(p.numel() for p in parameters)
        self.optimizer = torch.optim.Adam(list(parameters), lr=job["learning_rate"])
        self.loss = torch.nn.BCEWithLogitsLoss()
        self.place = torch.empty(nodes, dtype=torch.int64)

    def score(self, events, negative):
        """Logits of some events and of their negatives, and the rows that were sampled."""
        stream = self.stream
        src, dst = stream.src[events], stream.dst[events]
        asked = torch.cat([src, dst, negative]).unique()
        node, edge_index, event = self.neighbors(asked)
        self.place[node] = torch.arange(node.size(0))
        z, last_update = self.memory(node)
        z = self.embedding(
            z, last_update, edge_index, stream.time[event], stream.edge[event]
        )
        src, dst, negative = (self.place[ids] for ids in (src, dst, negative))
        return (
            self.predictor(z[src], z[dst]),
            self.predictor(z[src], z[negative]),
            event.size(0),
        )

    def remember(self, events):
        """What comes after a batch: its messages, and its events as neighbours."""
        stream = self.stream
        src, dst = stream.src[events], stream.dst[events]
        self.memory.update_state(src, dst, stream.time[events], stream.edge[events])
        self.neighbors.insert(src, dst)

    def batches(self, part, negatives):
        """Events of each batch of a part, with their negatives."""
        first, end = self.job[part]
        negative = self.stream.column(negatives, end - first)
        for begin in range(first, end, self.job["batch_size"]):
            events = slice(begin, min(begin + self.job["batch_size"], end))
            yield events, negative[events.start - first : events.stop - first]

    def train(self, epoch):
        for module in self.modules:
            module.train()
        self.memory.reset_state()
        self.neighbors.reset_state()
        losses, rows, batches = 0.0, 0, 0
        begin = time.perf_counter()
        for events, negative in self.batches("train", f"train-{epoch}"):
            self.optimizer.zero_grad()
            positive, negative, sampled = self.score(events, negative)
            loss = self.loss(positive, torch.ones_like(positive))
            loss += self.loss(negative, torch.zeros_like(negative))
            self.remember(events)
            loss.backward()
            self.optimizer.step()
            self.memory.detach()
            losses, rows, batches = losses + float(loss), rows + sampled, batches + 1
        seconds = time.perf_counter() - begin
        first, end = self.job["train"]
        return {
            "train_seconds": seconds,
            "events_per_s": (end - first) / seconds,
            "train_loss": losses / batches,
            "neighbor_rows": rows / batches,
        }

    @torch.no_grad()
    def evaluate(self, part):
        for module in self.modules:
            module.eval()
        positives, negatives = [], []
        for events, negative in self.batches(part, part):
            positive, negative, _ = self.score(events, negative)
            positives.append(positive.view(-1))
            negatives.append(negative.view(-1))
            self.remember(events)
        scores = torch.cat(positives + negatives)
        scores.numpy().tofile(self.folder / f"{part}.scores")

    def epoch(self, epoch):
        trained = self.train(epoch)
        self.evaluate("val")
        self.evaluate("test")
        return trained


def product(rows, inner, columns):
    left, right = (
        ((torch.arange(r * c) % 251) / 251.0 - 0.498).view(r, c)
        for r, c in ((rows, inner), (inner, columns))
    )
    seconds = []
    for _ in range(14):
        begin = time.perf_counter()
        torch.mm(left, right)
        seconds.append(time.perf_counter() - begin)
    return 2e-9 * rows * inner * columns / sorted(seconds[3:])[5]


def main():
    folder = Path(sys.argv[1])
    job = json.loads((folder / "job.json").read_text())
    torch.set_num_threads(job["threads"])
    torch.set_num_interop_threads(1)
    peer = Peer(folder, job)
    answer(
        python=platform.python_version(),
        torch=torch.__version__,
        torch_geometric=torch_geometric.__version__,
        threads=torch.get_num_threads(),
        parameters=peer.parameters,
    )
    for line in sys.stdin:
        command, *numbers = line.split()
        numbers = [int(number) for number in numbers]
        if command == "product":
            answer(gflops=product(*numbers))
        else:
            answer(**peer.epoch(*numbers))


main()
